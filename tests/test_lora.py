"""Adapters: where they go, that only they learn, and the same outputs stored, merged, exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import save_tiny, tiny_config, tiny_model

from adcopilot_edge.errors import CheckpointError, ConfigError
from adcopilot_edge.export.adapter import merge_adapter
from adcopilot_edge.export.checkpoint import open_checkpoint
from adcopilot_edge.export.tensors import our_name
from adcopilot_edge.training.lora import (
    adapted_modules,
    add_adapters,
    load_adapter,
    merge_adapters,
    merged_state,
    plain_state,
    save_adapter,
)
from adcopilot_edge.training.lora_recipe import LoraRecipe
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.model_parts import PARTS, part_of, trainable
from adcopilot_edge.training.stage_model import end_stage, start_stage
from adcopilot_edge.training.stage_recipe import StageRecipe

pytestmark = pytest.mark.torch

LORA = LoraRecipe(parts=PARTS, rank=2, alpha=6)


def model() -> ADCopilotForConditionalGeneration:
    return tiny_model(tiny_config(is_tied=False))


def adapted(lora: LoraRecipe = LORA) -> ADCopilotForConditionalGeneration:
    """A model whose adapters were drawn anew: a fresh one changes nothing."""
    chosen = model()
    add_adapters(chosen, lora)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in chosen.named_parameters():
            if ".lora_" in name:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(0.3 * noise / parameter[0].numel() ** 0.5)
    return chosen


def logits(chosen: ADCopilotForConditionalGeneration) -> torch.Tensor:
    config = chosen.config
    merged, patches = 4, 16
    run = [config.image_token_id] * (merged + config.vision.compare_token_size)
    ids = torch.tensor([[5, *run, 6, *run, 7, 8]])
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        found: torch.Tensor = chosen(
            input_ids=ids,
            mm_token_type_ids=(ids == config.image_token_id).int(),
            pixel_values=torch.randn(2 * patches, 1176, generator=generator),
            image_grid_thw=torch.tensor([[1, 4, 4]] * 2),
        ).logits
    return found


def stage(**changes: Any) -> StageRecipe:
    content = {"name": "s", "steps": 1, "batch_size": 1, "learning_rate": 1, "loss": {"text": 1}}
    return StageRecipe.model_validate({**content, **changes})


@pytest.mark.parametrize("part", PARTS)
def test_adapters_go_into_the_layers_of_their_part(part: Any) -> None:
    names = [name for name, _ in adapted_modules(model(), LoraRecipe(parts=(part,)))]
    assert names
    assert {part_of(f"{name}.weight") for name in names} == {part}
    assert not any("patch_embed" in name or "anomaly_map" in name for name in names)


def test_fresh_adapters_change_nothing_and_drawn_ones_do() -> None:
    fresh = model()
    add_adapters(fresh, LORA)
    plain = logits(model())
    assert torch.equal(logits(fresh), plain)
    assert not torch.allclose(logits(adapted()), plain, atol=0.1)


def test_a_target_that_no_layer_has_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"called c_attn; there are: q_proj"):
        add_adapters(model(), LoraRecipe(parts=("language",), targets=("q_proj", "c_attn")))


def test_only_adapters_and_the_parts_in_full_learn() -> None:
    chosen = model()
    start_stage(
        chosen,
        stage(trains=["comparison"], lora={"parts": ["language"], "rank": 2}),
        is_from_checkpoint=True,
    )
    learning = dict(trainable(chosen))
    assert {part_of(name) for name in learning} == {"comparison", "language"}
    assert all(".lora_" in name for name in learning if part_of(name) == "language")
    assert {parameter.dtype for parameter in learning.values()} == {torch.float32}
    frozen = [item for item in chosen.parameters() if not item.requires_grad]
    assert {parameter.dtype for parameter in frozen} == {torch.bfloat16}


def test_a_model_from_scratch_keeps_its_precision() -> None:
    chosen = model()
    start_stage(chosen, stage(trains=["merger"]), is_from_checkpoint=False)
    assert {parameter.dtype for parameter in chosen.parameters()} == {torch.float32}


def test_a_part_that_the_model_lacks_is_an_error() -> None:
    stock = tiny_model(tiny_config(compare_token_size=0))
    with pytest.raises(ConfigError, match="trains comparison, which the model lacks"):
        start_stage(stock, stage(trains=["comparison"]), is_from_checkpoint=True)


def test_merged_weights_give_the_outputs_of_the_adapters() -> None:
    chosen = adapted()
    expected = logits(chosen)
    state = merged_state(chosen.state_dict(), LORA)
    merge_adapters(chosen)
    # One product more or less in float32, through 5 layers of unit gain.
    torch.testing.assert_close(logits(chosen), expected, rtol=1e-4, atol=1e-4)
    plain = dict(chosen.named_parameters())
    assert set(plain) <= set(state)
    for name, parameter in plain.items():
        torch.testing.assert_close(state[name], parameter.data, rtol=0, atol=2e-6)
    assert plain.keys() == dict(model().named_parameters()).keys()


def test_the_end_of_a_stage_leaves_a_plain_model() -> None:
    chosen = model()
    start_stage(chosen, stage(lora={"parts": ["language"]}), is_from_checkpoint=False)
    end_stage(chosen, stage(lora={"parts": ["language"]}))
    assert chosen.state_dict().keys() == model().state_dict().keys()


def test_a_stored_adapter_comes_back_and_no_other_does(tmp_path: Path) -> None:
    chosen = adapted()
    save_adapter(tmp_path, chosen.state_dict(), LORA, base="tiny")
    again = model()
    add_adapters(again, LORA)
    load_adapter(again, tmp_path)
    assert torch.equal(logits(again), logits(chosen))
    other = model()
    add_adapters(other, LoraRecipe(parts=("language",), rank=2))
    with pytest.raises(CheckpointError, match="other layers"):
        load_adapter(other, tmp_path)
    plain = plain_state(chosen.state_dict())
    assert plain.keys() == model().state_dict().keys()
    assert all(torch.equal(plain[name], item) for name, item in model().state_dict().items())


def test_export_merges_a_stored_adapter_to_the_same_weights(tmp_path: Path) -> None:
    base = save_tiny(tmp_path / "base", model())
    chosen = adapted()
    save_adapter(tmp_path / "adapter", chosen.state_dict(), LORA)
    merged = merge_adapter(open_checkpoint(base), tmp_path / "adapter")
    expected = merged_state(chosen.state_dict(), LORA)
    assert {our_name(name) for name in expected} == set(merged.entries)
    for name, tensor in expected.items():
        np.testing.assert_allclose(
            merged.tensor(our_name(name)), tensor.numpy(), rtol=0, atol=2e-6, err_msg=name
        )
