"""Small runs for the tests of training: a tiny model, few steps, one thread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import tiny

from adcopilot_edge.training.recipe import TrainRecipe, load_recipe

_HERE = Path(__file__).resolve().parent
# In one thread sums have one order, so that equal runs give equal bits.
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join([str(_HERE.parent), str(_HERE), *sys.path[:1]]),
}


def tiny_recipe(steps: int, **stage_changes: Any) -> TrainRecipe:
    """The nano recipe for a tiny model and images, in batches of two pairs, in float32."""
    nano = load_recipe("nano")
    schedule = nano.schedule.model_copy(
        update={"log_every_steps": 1, "evaluation_pairs": 3, "checkpoint_every_steps": 2}
    )
    changes = {"batch_size": 2, "precision": "fp32", **stage_changes}
    # Without the first stage, which is the second one at another size.
    stages = tuple(stage.model_copy(update=changes) for stage in nano.stages[1:])
    small = {"stages": stages, "image_size": 112, "model": tiny.RECIPE, "schedule": schedule}
    return nano.model_copy(update={"name": "tiny", **small}).with_steps(steps)


def events(run: Path) -> list[dict[str, Any]]:
    """All that the log of a run tells."""
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def losses(run: Path) -> dict[int, dict[str, float]]:
    """The losses of a run by step; of a step that was done twice the last ones."""
    return {item["step"]: item["loss"] for item in events(run) if item["event"] == "step"}


def run_script(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a process of its own; it may be killed."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def started_from(recipe: TrainRecipe, checkpoint: Path, **stage_changes: Any) -> TrainRecipe:
    """The recipe with a checkpoint in place of the shapes, and changes to all of its stages."""
    content = recipe.model_dump(mode="json")
    content.update(model=None, base={"checkpoint": str(checkpoint)})
    for stage in content["stages"]:
        stage.update(stage_changes)
    return TrainRecipe.model_validate(content)


def write_recipe(recipe: TrainRecipe, path: Path) -> Path:
    """The recipe as a TOML file."""
    content = recipe.model_dump(mode="json", exclude_none=True)
    lines = [f"{key} = {_toml(value)}" for key, value in content.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)
