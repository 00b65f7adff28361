"""Time a bundle's language model beside llama.cpp and onnxruntime-genai: prefill and decode.

    python tests/full_shape.py 3b checkpoint-3b
    python tests/bench_decoder.py checkpoint-3b bundle --work peers --rounds 5 \
        --llama-python peers-venv/bin/python --genai-python peers-venv/bin/python

The same ids for all: as many as a test image has in the prompt, behind as many as the golden's part
has. The peers' files are made from the checkpoint once and kept in ``--work``; each peer is a
process of its own, and all take turns. llama.cpp has Q4_0 as it quantizes itself; onnxruntime-genai
what its builder writes as int4, with the head over the last token only. That all multiply by
the same weights is shown by their logits: the correlation with those of the first bundle, or under
``--exact`` with llama.cpp's on the weights that are not quantized. Of attention it says little
where the weights are noise.

``--llama-python`` names a Python with llama-cpp-python, built for this processor;
``--genai-python`` one with onnxruntime-genai, torch, transformers and onnx. Ours needs gguf. The
builder takes 19 GB of memory at 3B, llama.cpp's file 6 GB of disk while it is made.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
from peer_models import PeerProcess, build_genai, plain_gguf, quantized_gguf

from adcopilot_edge.bundle import Bundle, open_bundle
from adcopilot_edge.export.checkpoint import open_checkpoint
from adcopilot_edge.manifest import ModelSpec
from adcopilot_edge.runtime.decode import Decoder
from adcopilot_edge.runtime.embedding import EmbeddingTable
from adcopilot_edge.runtime.machine import cpu_model
from adcopilot_edge.runtime.segments import PromptSegments
from adcopilot_edge.runtime.tokenizer import TextTokenizer
from adcopilot_edge.types import FloatArray

_PAUSE_S = 0.2  # the threads of who ran before have gone to sleep by then
MEASURES = ("prefill", "decode")
# Two ways to round a random 3B to 4 bits gave 0.92.
LEAST_CORRELATION = 0.9


class Runner(Protocol):
    """An engine with a prefix read."""

    def read(self, ids: Sequence[int]) -> None:
        """Read the prefix from nothing."""

    def prefill(self, ids: Sequence[int]) -> float:
        """Seconds of one pass over ``ids`` behind the prefix."""

    def decode(self, count: int) -> float:
        """Seconds of ``count`` more tokens."""

    def logits(self) -> FloatArray:
        """Those behind the last prefill, (V,)."""


class Ours:
    """The decoder of a bundle as the runtime drives it, with text's plain positions."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        model = bundle.manifest.model
        table = bundle.file(bundle.manifest.embedding.file)
        self._decoder = Decoder(
            bundle.file(bundle.manifest.graphs["decoder"].file),
            model,
            EmbeddingTable(table, (model.vocab_size, model.hidden_size)),
            provider="cpu",
            num_threads=threads,
        )
        self._prefix = 0
        self._logits = self._after_prefill = np.empty(0, np.float32)

    def read(self, ids: Sequence[int]) -> None:
        self._prefix = 0
        self.prefill(ids)
        self._prefix = len(ids)

    def prefill(self, ids: Sequence[int]) -> float:
        self._decoder.cache.truncate(self._prefix)
        started = time.perf_counter()
        positions = np.broadcast_to(np.arange(len(ids)) + self._prefix, (3, len(ids)))
        self._logits = self._decoder.prefill(np.array(ids, dtype=np.int64), positions)
        return time.perf_counter() - started

    def decode(self, count: int) -> float:
        started = time.perf_counter()
        # The graph does not run for the last token of an answer.
        self._decoder.generate(
            self._logits,
            position=self._decoder.cache.length,
            end=(),
            max_new_tokens=count + 1,
        )
        return time.perf_counter() - started

    def logits(self) -> FloatArray:
        return self._logits


def main() -> None:
    options = parse_options()
    bundles = [open_bundle(path) for path in options.bundles]
    manifest = bundles[0].manifest
    segments = PromptSegments(manifest, TextTokenizer(bundles[0].file(manifest.tokenizer)))
    num_prefix, num_test = len(segments.golden.ids), len(segments.test.ids)
    ids = (
        np.random.default_rng(0)
        .integers(0, manifest.model.vocab_size, num_prefix + num_test)
        .tolist()
    )
    options.work.mkdir(parents=True, exist_ok=True)
    # First, and closed again: it takes the memory of two of the others.
    exact = exact_logits(options, manifest.model, ids, num_prefix) if options.exact else None
    runners = open_all(options, bundles)
    for runner in runners.values():
        runner.read(ids[:num_prefix])
    print(f"{cpu_model()}, {options.threads} threads, {options.rounds} rounds in turns")
    print(f"prefill of {num_test} tokens behind {num_prefix}, decode of {options.tokens} more\n")
    seconds = time_in_turns(runners, ids[num_prefix:], options.tokens, options.rounds)
    logits = logits_of_all(runners, ids[num_prefix:])
    base = next(iter(logits.values())) if exact is None else exact
    correlations = {name: float(np.corrcoef(base, one)[0, 1]) for name, one in logits.items()}
    report(seconds, correlations, len(bundles), options)
    if least := [name for name, one in correlations.items() if one < LEAST_CORRELATION]:
        raise SystemExit(f"not the same work, by the logits: {', '.join(least)}")


def open_all(options: argparse.Namespace, bundles: Sequence[Bundle]) -> dict[str, Runner]:
    """Ours, then the peers that were named; a peer that can't is told of and left out."""
    context = bundles[0].manifest.model.max_sequence_length
    # Before ours: the builder takes most of the memory.
    opened = {
        name: open_peer(name, engine, python, make, options, context)
        for name, engine, python, make in list_peers(options)
    }
    runners: dict[str, Runner] = {
        f"ours, {bundle.path.name}": Ours(bundle, options.threads) for bundle in bundles
    }
    return {**runners, **{name: peer for name, peer in opened.items() if peer is not None}}


def open_peer(
    name: str,
    engine: str,
    python: Path,
    make: Callable[[], Path],
    options: argparse.Namespace,
    context: int,
) -> PeerProcess | None:
    """The peer with its model, or None where it can't make or open it."""
    try:
        path = make()
        log = options.work / f"{path.stem}-run.log"
        where = ("--threads", options.threads, "--context", context)
        return PeerProcess(python, engine, path, *where, log=log)
    except SystemExit as failure:
        print(f"{name} is left out: {failure}\n")
        return None


def list_peers(
    options: argparse.Namespace,
) -> Iterator[tuple[str, str, Path, Callable[[], Path]]]:
    """Of each peer that has a Python: name, engine, the Python, and what makes its files."""
    checkpoint = open_checkpoint(options.checkpoint)
    if (python := options.llama_python) is not None:
        quantize = partial(quantized_gguf, checkpoint, options.work, python, options.threads)
        yield "llama.cpp, Q4_0", "llama", python, quantize
    if (python := options.genai_python) is not None:
        build = partial(build_genai, checkpoint, options.work, python, head=options.genai_head)
        for block in options.genai_blocks:
            name = f"onnxruntime-genai, int4, blocks of {block}, {options.genai_head} head"
            yield name, "genai", python, partial(build, block=block)


def time_in_turns(
    runners: dict[str, Runner], ids: Sequence[int], tokens: int, rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Seconds of each measure of each runner in each round, after one round to warm up."""
    seconds: dict[str, dict[str, list[float]]] = {
        name: {measure: [] for measure in MEASURES} for name in runners
    }
    for turn in range(rounds + 1):
        for name in list(runners)[:: 1 if turn % 2 else -1]:
            time.sleep(_PAUSE_S)
            found = runners[name].prefill(ids), runners[name].decode(tokens)
            if turn:
                for measure, one in zip(MEASURES, found, strict=True):
                    seconds[name][measure].append(one)
    return seconds


def logits_of_all(runners: dict[str, Runner], ids: Sequence[int]) -> dict[str, FloatArray]:
    """The logits (V,) of each runner behind ``ids``."""
    logits = {}
    for name, runner in runners.items():
        runner.prefill(ids)
        logits[name] = runner.logits()
    return logits


def exact_logits(
    options: argparse.Namespace, model: ModelSpec, ids: Sequence[int], num_prefix: int
) -> FloatArray:
    """The logits (V,) of llama.cpp on the checkpoint's own weights."""
    path = plain_gguf(open_checkpoint(options.checkpoint), options.work)
    where = ["--threads", options.threads, "--context", model.max_sequence_length]
    log = options.work / "llama-exact.log"
    peer = PeerProcess(options.llama_python, "llama", path, *where, log=log)
    peer.read(ids[:num_prefix])
    peer.prefill(ids[num_prefix:])
    logits = peer.logits()
    peer.close()
    return logits


def report(
    seconds: dict[str, dict[str, list[float]]],
    correlations: dict[str, float],
    num_ours: int,
    options: argparse.Namespace,
) -> None:
    """Print the table, then the same as one line of JSON.

    ``x`` is how many times faster the first bundle is, the median over the rounds.
    """
    ours = next(iter(seconds.values()))
    rows: dict[str, dict[str, Any]] = {}
    print(f"{'':<52}{'prefill':>10}{'x':>7}{'decode':>16}{'x':>7}{'logits':>9}")
    for name, times in seconds.items():
        ratios = {
            measure: median(
                one / first for one, first in zip(times[measure], ours[measure], strict=True)
            )
            for measure in MEASURES
        }
        rows[name] = {
            "prefill_s": round(median(times["prefill"]), 4),
            "prefill_times_ours": round(ratios["prefill"], 3),
            "decode_tokens_s": round(options.tokens / median(times["decode"]), 2),
            "decode_times_ours": round(ratios["decode"], 3),
            "logits_correlation": round(correlations[name], 4),
        }
        row = rows[name]
        print(
            f"{name:<52}{row['prefill_s']:>8.3f} s{row['prefill_times_ours']:>7.2f}"
            f"{row['decode_tokens_s']:>10.2f} tok/s{row['decode_times_ours']:>7.2f}"
            f"{row['logits_correlation']:>9.4f}"
        )
    peers = list(rows.values())[num_ours:]
    best = {
        measure: min((row[f"{measure}_times_ours"] for row in peers), default=None)
        for measure in MEASURES
    }
    print(f"against the better peer: {', '.join(f'{k} {v} x' for k, v in best.items())}")
    print(json.dumps({"threads": options.threads, "against_better_peer": best, "rows": rows}))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundles", type=Path, nargs="+", metavar="bundle")
    parser.add_argument("--llama-python", type=Path, help="a Python with llama-cpp-python")
    parser.add_argument("--genai-python", type=Path, help="a Python with onnxruntime-genai")
    parser.add_argument("--genai-blocks", type=int, nargs="+", default=[32], help="default: 32")
    parser.add_argument("--genai-head", choices=("int4", "int8"), default="int4")
    parser.add_argument("--exact", action="store_true", help="logits beside unquantized weights")
    parser.add_argument("--work", type=Path, default=Path("peers"), help="keeps the peers' files")
    parser.add_argument("--tokens", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    options = parser.parse_args()
    if options.exact and options.llama_python is None:
        parser.error("--exact needs --llama-python")
    return options


if __name__ == "__main__":
    main()
