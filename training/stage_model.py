"""A model made ready for a stage and brought back after it: what learns, and in which precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.lora import add_adapters, merge_adapters
from adcopilot_edge.training.model_parts import part_of
from adcopilot_edge.training.stage_recipe import StageRecipe

if TYPE_CHECKING:
    from adcopilot_edge.training.model import ADCopilotForConditionalGeneration


def start_stage(
    model: ADCopilotForConditionalGeneration, stage: StageRecipe, *, is_from_checkpoint: bool
) -> None:
    """Add the stage's adapters, let its parts learn and freeze everything else.

    What learns is in float32. is_from_checkpoint: with ``precision = "bf16"`` what is frozen is
    kept in bfloat16, which takes half the memory; a model from scratch is wholly in float32, since
    what is frozen in one of its stages learns in another.

    Raises ConfigError for a part that the model lacks, or layers that a target does not name.
    """
    if stage.lora is not None:
        add_adapters(model, stage.lora)
    is_half = is_from_checkpoint and stage.precision == "bf16"
    found = set()
    for name, parameter in model.named_parameters():
        is_factor = ".lora_" in name
        learns = is_factor or part_of(name) in stage.trains
        parameter.requires_grad_(learns)
        parameter.data = parameter.data.to(
            torch.bfloat16 if is_half and not learns else torch.float32
        )
        found.add(part_of(name))
    if missing := sorted(set(stage.learning_parts) - found):
        raise ConfigError(f"stage {stage.name} trains {', '.join(missing)}, which the model lacks")


def end_stage(model: ADCopilotForConditionalGeneration, stage: StageRecipe) -> None:
    """Add the stage's adapters to the weights; the model is a plain one again."""
    if stage.lora is not None:
        merge_adapters(model)
