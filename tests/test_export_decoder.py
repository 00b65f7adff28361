"""The decoder graph against the torch language model: cached or whole, and in every spelling."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
import pytest
import torch
from tiny import open_session, save_tiny, tiny_config, tiny_model

from adcopilot_edge.export.checkpoint import Checkpoint, open_checkpoint
from adcopilot_edge.export.decoder import write_decoder_graph
from adcopilot_edge.export.linear import BlockForm, FloatForm, LinearForm
from adcopilot_edge.positions import ImageSpan, TextSpan, mrope_positions, rotary_tables
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.types import FloatArray

pytestmark = pytest.mark.torch

KV_HEADS, HEAD_DIM, NUM_LAYERS = 2, 16, 2
CAPACITY = 48
# Text, an image whose ids differ on the three axes, text again.
POSITIONS = mrope_positions([TextSpan(5), ImageSpan(3, 4, 6), TextSpan(7)], "diagonal").ids
LENGTH = POSITIONS.shape[1]


class Sequence:
    """A decoder graph with its cache bound in place, as a device runs it."""

    def __init__(self, path: Path) -> None:
        self._session = open_session(path)
        shape = (1, KV_HEADS, CAPACITY, HEAD_DIM)
        self._cache = {
            f"{kind}.{layer}": onnxruntime.OrtValue.ortvalue_from_numpy(
                np.full(shape, np.nan, dtype=np.float32)  # what was never written is never read
            )
            for kind in ("key", "value")
            for layer in range(NUM_LAYERS)
        }
        self._cos, self._sin = rotary_tables(
            POSITIONS, theta=10_000.0, sections=(2, 3, 3), head_dim=HEAD_DIM
        )

    def append(self, embeds: FloatArray, end: int) -> FloatArray:
        """Logits (V,) after the tokens ``embeds`` (S, D), the last of which is token end - 1."""
        binding = self._session.io_binding()
        feeds = {
            "embeds": embeds[np.newaxis],
            "cos": self._cos,
            "sin": self._sin,
            "seqlens_k": np.array([end - 1], dtype=np.int32),
            "total_sequence_length": np.array(end, dtype=np.int32),
        }
        for name, array in feeds.items():
            binding.bind_cpu_input(name, array)
        for name, value in self._cache.items():
            binding.bind_ortvalue_input(f"past_{name}", value)
            binding.bind_ortvalue_output(f"present_{name}", value)
        binding.bind_output("logits")
        self._session.run_with_iobinding(binding)
        logits: FloatArray = binding.get_outputs()[-1].numpy()[0]
        return logits


def write(
    folder: Path,
    checkpoint: Checkpoint,
    form: LinearForm | None = None,
    head_form: LinearForm | None = None,
) -> Path:
    path = folder / "decoder.onnx"
    write_decoder_graph(
        path, checkpoint, form=form or FloatForm(), head_form=head_form or FloatForm()
    )
    return path


def embeddings() -> FloatArray:
    return np.random.default_rng(3).standard_normal((LENGTH, 64), dtype=np.float32)


def torch_logits(model: ADCopilotForConditionalGeneration, embeds: FloatArray) -> FloatArray:
    """Logits (T, V) of every position, computed at once and without a cache."""
    with torch.no_grad():
        hidden = model.model.language_model(
            inputs_embeds=torch.from_numpy(embeds)[None],
            position_ids=torch.from_numpy(POSITIONS)[:, None],
            use_cache=False,
        ).last_hidden_state
        logits: FloatArray = model.lm_head(hidden)[0].numpy()
    return logits


@pytest.mark.parametrize("prefix", ["disk", "memory"])
@pytest.mark.parametrize("tied", [False, True])
def test_steps_with_a_cache_equal_the_whole(
    tmp_path: Path, prefix: Literal["disk", "memory"], *, tied: bool
) -> None:
    model = tiny_model(tiny_config(is_tied=tied))
    checkpoint = open_checkpoint(save_tiny(tmp_path / "checkpoint", model, prefix=prefix))
    embeds = embeddings()
    expected = torch_logits(model, embeds)
    sequence = Sequence(write(tmp_path, checkpoint))
    ends = [9, 18, 23, 24, 25]
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        logits = sequence.append(embeds[start:end], end)
        # float32 sums in another order, over two layers; logits are about 10.
        np.testing.assert_allclose(logits, expected[end - 1], rtol=0, atol=2e-5)


def test_going_back_leaves_no_trace(tmp_path: Path) -> None:
    model = tiny_model(tiny_config())
    sequence = Sequence(write(tmp_path, open_checkpoint(save_tiny(tmp_path / "checkpoint", model))))
    embeds = embeddings()
    sequence.append(embeds[:9], 9)
    first = sequence.append(embeds[9:14], 14)
    sequence.append(-embeds[9:20], 20)
    np.testing.assert_array_equal(sequence.append(embeds[9:14], 14), first)


def test_missing_biases_count_as_zero(tmp_path: Path) -> None:
    model = tiny_model(tiny_config())
    with torch.no_grad():
        for layer in model.model.language_model.layers:
            for role in ("q", "k", "v"):
                getattr(layer.self_attn, f"{role}_proj").bias.zero_()
    checkpoint = open_checkpoint(save_tiny(tmp_path / "checkpoint", model))
    for name in [name for name in checkpoint.entries if ".self_attn." in name and "bias" in name]:
        del checkpoint.entries[name]
    embeds = embeddings()
    logits = Sequence(write(tmp_path, checkpoint)).append(embeds, LENGTH)
    np.testing.assert_allclose(logits, torch_logits(model, embeds)[-1], rtol=0, atol=2e-5)


@pytest.mark.parametrize(("bits", "limit"), [(8, 0.01), (4, 0.2)])
def test_blocks_stay_near(tmp_path: Path, bits: Literal[4, 8], limit: float) -> None:
    model = tiny_model(tiny_config())
    checkpoint = open_checkpoint(save_tiny(tmp_path / "checkpoint", model))
    form, head_form = (BlockForm(bits=width, block_size=32) for width in (bits, 8))
    embeds = embeddings()
    logits = Sequence(write(tmp_path, checkpoint, form, head_form)).append(embeds, LENGTH)
    expected = torch_logits(model, embeds)[-1]
    # Of unit random weights, a block of 32 spans about 4 deviations: steps of 4 / 2 ** bits.
    assert np.linalg.norm(logits - expected) / np.linalg.norm(expected) < limit
