"""The weights of a stage on disk: what ``export`` takes, and what the stage goes on from.

Inside a stage with adapters a checkpoint has the weights without them and the adapters beside, in
peft's format, so that a resumed stage goes on with the very same numbers; its last checkpoint has
the adapters in the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel

from adcopilot_edge.training.lora import load_adapter, merged_state, plain_state, save_adapter
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.stage_recipe import StageRecipe

LoadingType = torch.dtype | Literal["auto"]
"""What ``from_pretrained`` takes as ``dtype``; ``auto`` is what ``config.json`` says."""

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
    model = ADCopilotForConditionalGeneration.from_pretrained(
        checkpoint, dtype=loading_type(checkpoint, stage)
    )
    return model, ADCopilotProcessor.from_pretrained(checkpoint)


def loading_type(checkpoint: str | Path, stage: StageRecipe) -> LoadingType:
    """The type to load a checkpoint in, a folder or one of the hub, so that no digit is lost.

    A folder may hold two types, of what learned and what was frozen, and loading takes one for
    all. Only where nothing but adapters learns in bf16 may the smaller one do. A stage in fp32 is
    computed, and scored before its first step, in float32.
    """
    if stage.precision == "fp32":
        return torch.float32
    may_be_half = stage.precision == "bf16" and not stage.trains
    return "auto" if may_be_half or not _has_float32(Path(checkpoint)) else torch.float32


def _has_float32(folder: Path) -> bool:
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            names = file.keys()
            if any(file.get_slice(name).get_dtype() == "F32" for name in names):
                return True
    return False


def restore_adapter(model: ADCopilotForConditionalGeneration, checkpoint: Path) -> None:
    """Fill the adapters of a model with those of a checkpoint inside its stage, if it has some.

    Raises CheckpointError when they are others than the stage's.
    """
    if (checkpoint / _ADAPTER).is_dir():
        load_adapter(model, checkpoint / _ADAPTER)
