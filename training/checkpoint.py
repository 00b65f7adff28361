"""Checkpoints of a run: a Hugging Face folder plus what is needed to go on training.

Written beside the last one and renamed, so that a crash at any moment leaves a whole checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.recipe import TrainRecipe

CHECKPOINT_NAME = "checkpoint"
_STATE_NAME = "training_state.pt"
_RECIPE_NAME = "recipe.json"


@dataclass(frozen=True, slots=True)
class TrainingState:
    """What a resumed run needs beside the weights: steps done, the stage's optimizer."""

    step: int
    optimizer: dict[str, Any]


def save_checkpoint(
    run: Path,
    model: ADCopilotForConditionalGeneration,
    processor: ADCopilotProcessor,
    recipe: TrainRecipe,
    state: TrainingState,
) -> Path:
    """Replace ``run/checkpoint`` by the present state. Returns its path."""
    target = run / CHECKPOINT_NAME
    partial = run / f".{CHECKPOINT_NAME}.partial"
    old = run / f".{CHECKPOINT_NAME}.old"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    partial.mkdir(parents=True)
    model.save_pretrained(partial)
    processor.save_pretrained(partial)
    torch.save({"step": state.step, "optimizer": state.optimizer}, partial / _STATE_NAME)
    (partial / _RECIPE_NAME).write_text(recipe.model_dump_json(indent=2) + "\n", encoding="utf-8")
    for path in [*partial.iterdir(), partial]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    if target.exists():
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return target


def find_checkpoint(run: Path) -> Path | None:
    """The run's whole checkpoint, if it has one; puts back one that a crash left set aside."""
    target, old = run / CHECKPOINT_NAME, run / f".{CHECKPOINT_NAME}.old"
    if not target.exists() and old.exists():
        old.rename(target)
    return target if target.exists() else None


def load_state(checkpoint: Path, recipe: TrainRecipe) -> TrainingState:
    """The training state of ``checkpoint``, made by the same recipe but for its schedule.

    Raises ConfigError when the recipe differs: its steps would not be comparable.
    """
    stored = json.loads((checkpoint / _RECIPE_NAME).read_text(encoding="utf-8"))
    wanted = json.loads(recipe.model_dump_json())
    changed = sorted(key for key in wanted if key != "schedule" and stored.get(key) != wanted[key])
    if changed:
        raise ConfigError(
            f"{checkpoint} was trained with another recipe ({', '.join(changed)} differ); "
            "choose another --out, or the recipe it was started with"
        )
    content = torch.load(checkpoint / _STATE_NAME, weights_only=True)
    return TrainingState(step=content["step"], optimizer=content["optimizer"])
