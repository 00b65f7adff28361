"""What autograd keeps: counted without values as with them, and less where less learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import tiny_config
from torch import nn

from adcopilot_edge.training.activations import SampleShape, activation_bytes
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.saved_tensors import kept_bytes
from adcopilot_edge.training.stage_model import start_stage
from adcopilot_edge.training.stage_recipe import StageRecipe

pytestmark = pytest.mark.torch

SHAPE = SampleShape(patches=64, tokens=96, answers=8)


def stage(**changes: Any) -> StageRecipe:
    content = {"name": "s", "steps": 1, "batch_size": 1, "learning_rate": 1, "loss": {"text": 1}}
    return StageRecipe.model_validate({**content, **changes})


def estimate(batch: int = 1, shapes: dict[str, Any] | None = None, **changes: Any) -> int:
    chosen = stage(**changes)
    with torch.device("meta"):
        model = ADCopilotForConditionalGeneration(tiny_config(**(shapes or {})))
    start_stage(model, chosen, is_from_checkpoint=False)
    return activation_bytes(model, chosen, SHAPE, batch)


def test_a_linear_layer_keeps_its_input_only_where_it_learns() -> None:
    linear = nn.Linear(8, 16, bias=False)
    inputs = torch.ones(4, 8, requires_grad=True)
    assert kept_bytes(lambda: linear(inputs), linear.parameters()) == 4 * 8 * 4
    linear.requires_grad_(False)
    assert kept_bytes(lambda: linear(inputs), linear.parameters()) == 0


def test_what_two_operations_keep_counts_once() -> None:
    inputs = torch.ones(10, requires_grad=True)
    hidden = inputs * 1.0
    assert kept_bytes(lambda: (hidden * hidden, hidden.square(), hidden[:5] * 2.0), []) == 40


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_attention_keeps_no_square(device: str) -> None:
    q, k, v = (torch.ones(1, 2, 50, 8, device=device, requires_grad=True) for _ in range(3))
    found = kept_bytes(lambda: nn.functional.scaled_dot_product_attention(q, k, v), [])
    assert found == 4 * (4 * 2 * 50 * 8 + 2 * 50)


def test_less_is_kept_where_less_learns() -> None:
    everything = estimate(trains=["tower", "comparison", "queries", "merger", "language"])
    encoder = estimate(trains=["comparison", "queries"])
    frozen_tower = estimate(trains=["comparison", "queries", "merger", "language"])
    assert encoder < frozen_tower < everything
    # Without words the language model does not run.
    assert estimate(trains=["comparison"], loss={"anomaly_map": 1}) < encoder
    assert estimate(lora={"parts": ["language"], "rank": 2}) < estimate(trains=["language"])


def test_checkpointing_keeps_inputs_and_one_block() -> None:
    parts = ["tower", "comparison", "queries", "merger", "language"]
    assert estimate(trains=parts, gradient_checkpointing=True) < estimate(trains=parts)


def test_twice_the_samples_take_twice_the_memory() -> None:
    parts = ["tower", "comparison", "language"]
    assert estimate(2, trains=parts) == pytest.approx(2 * estimate(1, trains=parts), rel=1e-3)


@pytest.mark.parametrize(
    "choice",
    [
        {"compare_query_grid": True},
        {"compare_patch_places": True},
        {"compare_token_cells": 4},
    ],
    ids=lambda choice: next(iter(choice)),
)
def test_what_a_comparison_encoder_may_have_is_counted(choice: dict[str, Any]) -> None:
    plain: dict[str, Any] = {"compare_token_size": 9, "compare_rope": False}
    parts = ["comparison", "queries", "language"]
    assert estimate(shapes=plain | choice, trains=parts) > estimate(shapes=plain, trains=parts)
