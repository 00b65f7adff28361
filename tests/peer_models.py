"""A checkpoint's language model in the files of other engines, and those engines as processes.

``write_gguf`` writes for llama.cpp, ``build_genai`` has onnxruntime-genai's builder write. Files
that are there already are taken as they are. Which engine is faster is not known here.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.types import FloatArray

_WORKER = Path(__file__).with_name("peer_worker.py")
# The names of llama.cpp for what is in a layer.
_LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_OTHER_NAMES = {
    "language_model.embed_tokens.weight": "token_embd.weight",
    "language_model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


class PeerProcess:
    """A peer that runs in a process of its own and waits where nothing is asked of it.

    Args:
        python: The interpreter that has the engine.
        words: What ``peer_worker.py`` is given.
        log: Where the engine's own words go.
    """

    def __init__(self, python: Path, *words: str | Path | int, log: Path) -> None:
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [str(word) for word in (python, _WORKER, *words)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._answer()

    def read(self, ids: Sequence[int]) -> None:
        """Read the prefix from nothing."""
        self._ask({"do": "read", "ids": list(ids)})

    def prefill(self, ids: Sequence[int]) -> float:
        """Seconds of one pass over ``ids`` behind the prefix."""
        return self._ask({"do": "prefill", "ids": list(ids)})

    def decode(self, count: int) -> float:
        """Seconds of ``count`` more tokens."""
        return self._ask({"do": "decode", "count": count})

    def logits(self) -> FloatArray:
        """Those behind the last prefill, (V,)."""
        path = self._log.with_suffix(".npy").resolve()
        self._ask({"do": "logits", "path": str(path)})
        return cast(FloatArray, np.load(path))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _ask(self, request: dict[str, Any]) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return float(self._answer()["seconds"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"it ended with {self._process.wait()}: {last_words(self._log)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def last_words(log: Path) -> str:
    """The last lines of a log, where an engine says why it gave up."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([str(log), *lines[-5:]])


def plain_gguf(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write the file with the checkpoint's own weights; returns its path."""
    target = folder / "model.gguf"
    if not target.exists():
        partial = folder / "model.gguf.part"
        write_gguf(checkpoint, partial)
        partial.replace(target)
    return target


def quantized_gguf(checkpoint: Checkpoint, folder: Path, python: Path, threads: int) -> Path:
    """Write the Q4_0 file, quantized by llama.cpp itself; returns its path."""
    target = folder / "model-q4_0.gguf"
    if not target.exists():
        source = plain_gguf(checkpoint, folder)
        words = (python, _WORKER, "quantize", source, target, "--threads", threads)
        _run(words, folder / "quantize.log")
    return target


def write_gguf(checkpoint: Checkpoint, path: Path) -> None:
    """Write the language model of ``checkpoint``, one tensor in memory at a time.

    Matrices are bfloat16 where the checkpoint's are, float32 elsewhere. There is no vocabulary:
    ids go in, logits come out.
    """
    try:
        from gguf import GGMLQuantizationType, GGUFWriter, quants
    except ImportError as error:
        raise SystemExit("no package gguf; get it: pip install --no-deps gguf") from error
    settings = checkpoint.language
    writer = GGUFWriter(path, "qwen2vl")
    writer.add_context_length(settings.trained_length)
    writer.add_embedding_length(settings.hidden_size)
    writer.add_block_count(settings.num_layers)
    writer.add_feed_forward_length(
        checkpoint.entries["language_model.layers.0.mlp.gate_proj.weight"].shape[0]
    )
    writer.add_head_count(settings.num_heads)
    writer.add_head_count_kv(settings.num_kv_heads)
    writer.add_key_length(settings.head_dim)
    writer.add_value_length(settings.head_dim)
    writer.add_layer_norm_rms_eps(settings.rms_norm_eps)
    writer.add_rope_freq_base(settings.rope_theta)
    writer.add_rope_dimension_count(settings.head_dim)
    writer.add_rope_dimension_sections([*settings.mrope_section, 0])
    writer.add_vocab_size(settings.vocab_size)
    writer.add_tokenizer_model("no_vocab")
    is_tied = checkpoint.head_name != "lm_head.weight"
    names = {
        name: theirs
        for name in checkpoint.entries
        if (theirs := gguf_name(name)) and not (is_tied and name == "lm_head.weight")
    }
    for name, theirs in names.items():
        entry = checkpoint.entries[name]
        is_half = entry.dtype == "BF16" and len(entry.shape) > 1
        kind = GGMLQuantizationType.BF16 if is_half else GGMLQuantizationType.F32
        size = (2 if is_half else 4) * int(np.prod(entry.shape))
        writer.add_tensor_info(theirs, entry.shape, np.dtype(np.float32), size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name in names:
        entry, values = checkpoint.entries[name], checkpoint.tensor(name)
        if entry.dtype == "BF16" and len(entry.shape) > 1:
            values = quants.quantize(values, GGMLQuantizationType.BF16)
        writer.write_tensor_data(values)
    writer.close()


def gguf_name(name: str) -> str | None:
    """Llama.cpp's name of one of our tensors; None where it is of no language model."""
    if name in _OTHER_NAMES:
        return _OTHER_NAMES[name]
    parts = name.split(".")
    if parts[:2] != ["language_model", "layers"]:
        return None
    return f"blk.{parts[2]}.{_LAYER_NAMES['.'.join(parts[3:-1])]}.{parts[-1]}"


def build_genai(
    checkpoint: Checkpoint, folder: Path, python: Path, *, block: int, head: str
) -> Path:
    """Have the model builder write an int4 model for the CPU; returns its folder.

    The language model goes there as Qwen2, which takes ids and plain positions: the same products.
    head: ``int4`` as the builder's default is, or ``int8``.
    """
    target = folder / f"genai-{block}-{head}"
    if (target / "genai_config.json").exists():
        return target
    options = [f"block_size={block}", "accuracy_level=4", "prune_lm_head=true"]
    if head != "int4":
        options.append(f"matmul_mixed_precision=last_matmul:{head}")
    source = as_qwen2(checkpoint, folder / "qwen2")
    builder: list[str | Path] = [python, "-m", "onnxruntime_genai.models.builder"]
    builder += ["-p", "int4", "-e", "cpu", "-i", source, "-o", target, "-c", folder / "cache"]
    _run([*builder, "--extra_options", *options], folder / f"{target.name}.log")
    return target


def as_qwen2(checkpoint: Checkpoint, folder: Path) -> Path:
    """The same weights under the configuration of a plain Qwen2; the vision side is ignored."""
    names = {entry.name for entry in checkpoint.entries.values()}
    if "model.layers.0.mlp.down_proj.weight" not in names:
        raise SystemExit(f"{checkpoint.path} has no tensors model.layers.*, which Qwen2 reads")
    folder.mkdir(exist_ok=True)
    for file in checkpoint.path.resolve().iterdir():
        if file.name not in ("config.json", "generation_config.json"):
            (folder / file.name).unlink(missing_ok=True)
            (folder / file.name).symlink_to(file)
    config = checkpoint.settings.get_text_config().to_dict()
    rope = config["rope_parameters"]
    config |= {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "rope_parameters": {"rope_type": "default", "rope_theta": rope["rope_theta"]},
        "tie_word_embeddings": checkpoint.head_name != "lm_head.weight",
        "use_sliding_window": False,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def _run(words: Sequence[str | Path | int], log: Path) -> None:
    """Run a program to its end; its words go to ``log``."""
    command = [str(word) for word in words]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with log.open("w") as output:
        code = subprocess.run(command, stdout=output, stderr=output, env=environment).returncode
    if code:
        raise SystemExit(f"{' '.join(command)} failed: {last_words(log)}")
