"""Which modules of a checkpoint do not bear INT8: measured, kept as a file, drawn."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.calibration.answer_log import AnswerLog
from adcopilot_edge.calibration.bar_chart import draw_bars
from adcopilot_edge.calibration.pairs import CalibrationPairs
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.calibrate import require_pairs
from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.describe import describe
from adcopilot_edge.export.layout import check_layout
from adcopilot_edge.export.plan import plan_export
from adcopilot_edge.export.prepare import prepare
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.sensitivity import Sensitivity, measure_sensitivity
from adcopilot_edge.prompt import DEFAULT_PROMPT
from adcopilot_edge.runtime.overlay import save_image
from adcopilot_edge.types import OnStep

TABLE_FILE = "sensitivity.json"
PICTURE_FILE = "sensitivity.png"
_LOG_FILE = "sensitivity.jsonl"
_WORK = ".work"


def report_sensitivity(
    checkpoint: Checkpoint,
    out: Path,
    recipe: ExportRecipe,
    calibration: CalibrationPairs,
    *,
    max_ram: int | None = None,
    on_step: OnStep = lambda *_: None,
) -> tuple[Sensitivity, ...]:
    """Measure every module alone in INT8, and write table and picture into ``out``.

    A run that was killed goes on behind its last module.

    Args:
        checkpoint: The model.
        out: A folder; it is made.
        recipe: How the vision side would become INT8, and the language model behind it.
        calibration: Pairs that ranges are taken from, and that the loss is measured on.
        max_ram: As for an export.
        on_step: Told of the progress.

    Raises:
        ConfigError: The vision side is not to be INT8, ``out`` holds another run's, or it can't be
            written.
    """
    if recipe.vision != "int8":
        raise ConfigError(f"the vision side is to be {recipe.vision}; this is about int8")
    check_layout(checkpoint)
    require_pairs(recipe, calibration)
    description = describe(checkpoint, recipe, DEFAULT_PROMPT)
    memory = plan_export(checkpoint, recipe, max_ram).memory
    origin = {
        "checkpoint": checkpoint.sha256(),
        "recipe": repr(recipe),
        "pairs": calibration.sha256(),
    }
    with AnswerLog(out / _LOG_FILE, origin) as log:
        work = out / _WORK
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        ready = prepare(checkpoint, work, recipe, description, calibration, memory, on_step)
        found = measure_sensitivity(ready.trials(), recipe, calibration.pairs, log, on_step)
        shutil.rmtree(work)
    table = {
        **origin,
        "num_pairs": len(calibration.pairs),
        "modules": [item.to_json() for item in found],
    }
    with atomic_write(out / TABLE_FILE) as file:
        file.write(json.dumps(table, indent=2).encode() + b"\n")
    save_image(
        draw_sensitivity(found, f"{checkpoint.name}: each module alone in INT8"), out / PICTURE_FILE
    )
    return found


def shares(found: Sequence[Sensitivity]) -> list[float]:
    """Of each module, its share of the sum of all losses, 0..1."""
    total = sum(item.loss for item in found)
    return [item.loss / total if total else 0.0 for item in found]


def draw_sensitivity(found: Sequence[Sensitivity], title: str) -> Any:
    """The modules as bars in percent: share of the loss, error of the tokens, verdicts flipped."""
    names = [short_name(item.module) for item in found]
    values = zip(
        names,
        shares(found),
        (item.error for item in found),
        (item.flips / item.num_pairs for item in found),
        strict=True,
    )
    series: dict[str, dict[str, float | None]] = {
        "share of the loss, %": {},
        "error of the tokens, %": {},
        "verdicts flipped, %": {},
    }
    for name, *figures in values:
        for place, figure in zip(series.values(), figures, strict=True):
            place[name] = 100 * figure
    return draw_bars(title, names, series)


def short_name(module: str) -> str:
    """A module's name without what all of them share."""
    return module.removeprefix("visual.").removeprefix("compare_visual_encoder.")
