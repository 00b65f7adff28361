"""One engine of another project as a process: JSON lines in, seconds out. Knows nothing of ours.

It runs under the Python that has the engine, and imports only that and numpy:

    python tests/peer_worker.py llama model.gguf --threads 2 --context 2048
    python tests/peer_worker.py genai folder --threads 2 --context 2048
    python tests/peer_worker.py quantize model-bf16.gguf model-q4_0.gguf --threads 2

Requests, one object a line: ``{"do": "read", "ids": [...]}`` forgets everything and reads a prefix;
``prefill`` goes back to that prefix and reads ``ids`` behind it; ``decode`` runs the model
``count`` times more, each on the likeliest token; ``logits`` saves those behind the last prefill in
``path``. Each is answered by ``{"seconds": ...}``.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Peer(Protocol):
    """An engine with one sequence; logits are (V,) float32."""

    def cut(self, length: int) -> None:
        """Forget all tokens from ``length`` on."""

    def read(self, ids: list[int]) -> NDArray[np.float32]:
        """Append ``ids`` in one pass; the logits behind the last."""

    def decode(self, count: int) -> float:
        """Append the likeliest token and run the model, ``count`` times; seconds."""


class Llama:
    """A GGUF model on llama.cpp, whose batch is as long as the context: a prefill is one pass."""

    def __init__(self, path: Path, threads: int, context: int) -> None:
        import llama_cpp

        self._api = llama_cpp
        model_options = llama_cpp.llama_model_default_params()
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_options)
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = options.n_batch = options.n_ubatch = context
        options.n_threads = options.n_threads_batch = threads
        self._context = model and llama_cpp.llama_init_from_model(model, options)
        if not self._context:
            raise SystemExit(f"llama.cpp can't open {path}")
        self._vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        self._logits = np.empty(0, np.float32)

    def cut(self, length: int) -> None:
        memory = self._api.llama_get_memory(self._context)
        if not self._api.llama_memory_seq_rm(memory, 0, length, -1):
            raise SystemExit(f"llama.cpp can't go back to token {length}")

    def read(self, ids: list[int]) -> NDArray[np.float32]:
        tokens = (self._api.llama_token * len(ids))(*ids)
        # Positions count on by themselves, and only the last token gets logits.
        if code := self._api.llama_decode(
            self._context, self._api.llama_batch_get_one(tokens, len(ids))
        ):
            raise SystemExit(f"llama_decode returned {code}")
        found = self._api.llama_get_logits_ith(self._context, -1)
        self._logits = np.ctypeslib.as_array(found, (self._vocabulary,)).copy()
        return self._logits

    def decode(self, count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            self.read([int(self._logits.argmax())])
        return time.perf_counter() - started


class GenAI:
    """A folder of onnxruntime-genai's model builder."""

    def __init__(self, path: Path, threads: int, context: int) -> None:
        import onnxruntime_genai

        config = onnxruntime_genai.Config(str(path))
        session = {"intra_op_num_threads": threads}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
        self._model = onnxruntime_genai.Model(config)
        options = onnxruntime_genai.GeneratorParams(self._model)
        # With the least length as long as the greatest, no end token stops it.
        options.set_search_options(max_length=context, min_length=context, do_sample=False)
        self._generator = onnxruntime_genai.Generator(self._model, options)

    def cut(self, length: int) -> None:
        self._generator.rewind_to(length)

    def read(self, ids: list[int]) -> NDArray[np.float32]:
        self._generator.append_tokens(np.array(ids, np.int32))
        logits: NDArray[np.float32] = self._generator.get_logits().reshape(-1)
        return logits

    def decode(self, count: int) -> float:
        # Chosen from the logits that are there: the graph does not run for it.
        self._generator.generate_next_token()
        started = time.perf_counter()
        for _ in range(count):
            self._generator.generate_next_token()
        return time.perf_counter() - started


def serve(peer: Peer) -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the engine itself prints must not look like an answer
    answers.write("{}\n")
    answers.flush()
    prefix, logits = 0, np.empty(0, np.float32)
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        seconds = 0.0
        if request["do"] == "decode":
            seconds = peer.decode(request["count"])
        elif request["do"] == "logits":
            np.save(request["path"], logits)
        else:
            peer.cut(0 if request["do"] == "read" else prefix)
            started = time.perf_counter()
            logits = peer.read(request["ids"])
            seconds = time.perf_counter() - started
            if request["do"] == "read":
                prefix = len(request["ids"])
        answers.write(json.dumps({"seconds": seconds}) + "\n")
        answers.flush()


def quantize(source: Path, target: Path, threads: int) -> None:
    """Q4_0 by llama.cpp's own recipe, which takes more bits for the embedding that is the head."""
    import llama_cpp

    options = llama_cpp.llama_model_quantize_default_params()
    options.ftype, options.nthread = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0, threads
    partial = target.with_name(f"{target.name}.part")
    if code := llama_cpp.llama_model_quantize(
        str(source).encode(), str(partial).encode(), ctypes.byref(options)
    ):
        raise SystemExit(f"llama.cpp can't quantize {source}: {code}")
    partial.replace(target)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engine", choices=("llama", "genai", "quantize"))
    parser.add_argument("path", type=Path)
    parser.add_argument("target", type=Path, nargs="?", help="of quantize")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--context", type=int, default=0)
    options = parser.parse_args()
    path, threads = options.path, options.threads
    if options.engine == "quantize":
        quantize(path, options.target, threads)
    elif options.engine == "llama":
        serve(Llama(path, threads, options.context))
    else:
        serve(GenAI(path, threads, options.context))


if __name__ == "__main__":
    main()
