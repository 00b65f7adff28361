"""The weights of a stage on disk: what ``export`` takes, and what the stage goes on from.

Inside a stage with adapters a checkpoint has the weights without them and the adapters beside, in
peft's format, so that a resumed stage goes on with the very same numbers; its last checkpoint has
the adapters in the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from adcopilot_edge.training.lora import load_adapter, merged_state, plain_state, save_adapter
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.stage_recipe import StageRecipe

_ADAPTER = "adapter"


def save_weights(
    folder: Path,
    model: PreTrainedModel,
    state: dict[str, Tensor],
    stage: StageRecipe,
    *,
    is_last: bool,
) -> None:
    """Write ``state``, all tensors of ``model`` with the stage's adapters, to ``folder``.

    is_last: whether the stage is done.
    """
    if stage.lora is not None:
        if not is_last:
            save_adapter(folder / _ADAPTER, state, stage.lora, base="the folder above")
        state = merged_state(state, stage.lora) if is_last else plain_state(state)
    model.save_pretrained(folder, state_dict=state)


def load_weights(
    checkpoint: Path, stage: StageRecipe
) -> tuple[ADCopilotForConditionalGeneration, ADCopilotProcessor]:
    """The model and the processor of a checkpoint, for ``stage`` to begin or to go on."""
    # A checkpoint may hold two types, of what learned and what was frozen. Only where nothing but
    # adapters learns may the smaller one do for all.
    is_half = stage.precision == "bf16" and not stage.trains
    dtype: Any = "auto" if is_half else torch.float32
    model = ADCopilotForConditionalGeneration.from_pretrained(checkpoint, dtype=dtype)
    return model, ADCopilotProcessor.from_pretrained(checkpoint)


def restore_adapter(model: ADCopilotForConditionalGeneration, checkpoint: Path) -> None:
    """Fill the adapters of a model with those of a checkpoint inside its stage, if it has some.

    Raises CheckpointError when they are others than the stage's.
    """
    if (checkpoint / _ADAPTER).is_dir():
        load_adapter(model, checkpoint / _ADAPTER)
