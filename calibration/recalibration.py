"""Ranges of the static INT8 layers measured anew on a device, and whether they may be used.

One half of the good parts gives the ranges, the other one, which had no say in them, shows what
they do to verdicts and sets the limits under them. Needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import adcopilot_edge
from adcopilot_edge.calibration.cascade import require_map
from adcopilot_edge.calibration.parts import Parts, read_parts
from adcopilot_edge.calibration.ranges_gate import RangesReport, compare_ranges
from adcopilot_edge.calibration.verdicts import (
    Calibration,
    Measured,
    VerdictRecipe,
    derive,
    measure_parts,
)
from adcopilot_edge.errors import CalibrationError, GateError, TooFewSamplesError
from adcopilot_edge.runtime.engine import relevel
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.ranges_state import RangesState, require_static
from adcopilot_edge.runtime.relevel import Edges
from adcopilot_edge.runtime.threads import Threads
from adcopilot_edge.types import ImageArray, OnStep

# Of the half that gives the ranges. An export takes as many pairs by default.
MIN_PARTS = 16
# In the first pass layers get what the ranges in use clipped before them; in the second they don't.
_PASSES = 2
# Defects reach further than good parts do, and what is clipped can't be seen. A third of a bit.
_HEADROOM = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalibration:
    """New ranges, what they did, and the limits of the verdicts under them."""

    ranges: RangesState
    report: RangesReport
    verdicts: Calibration


def recalibrate(
    inspector: Inspector,
    picture: ImageArray,
    good: Path,
    bad: Path | None,
    recipe: VerdictRecipe,
    *,
    num_threads: Threads,
    on_step: OnStep,
) -> Recalibration:
    """Measure ranges on one half of the good parts, and gate and calibrate on the other.

    Args:
        inspector: Under the ranges in use, by no verdict state.
        picture: (H, W, 3) uint8 RGB of the golden image.
        good: Folder of good parts.
        bad: Folder of bad parts, or None.
        recipe: What is asked of the verdicts.
        num_threads: As for ``GraphSession``.
        on_step: Called while pictures are checked, measured and inspected.

    Raises:
        ConfigError: The bundle has no ranges to measure.
        DatasetError: A folder or pictures of it can't be used.
        TooFewSamplesError: There are too few good parts.
        CalibrationError: The ranges or scores are of no use.
        GateError: The new ranges make verdicts worse, or leave the tolerances of the export.
        InferenceError: An inspection fails.
    """
    require_static(inspector.engine.bundle.manifest)
    if recipe.max_asked is not None:
        require_map(inspector.engine.bundle.manifest.model)
    parts = read_parts(picture, good, bad, on_step=on_step)
    first, second = parts.halves()
    _require_enough(first, second, recipe)
    if bad is not None and not parts.bad:
        raise CalibrationError(f"{bad} holds nothing but the golden image; bad parts are needed")
    ranges = _measure(inspector, picture, first, recipe, num_threads, on_step)
    engine = relevel(inspector.engine, ranges, num_threads=num_threads)
    renewed = Inspector(engine)
    before, after = (
        _score(one, picture, second, recipe, names, on_step)
        for one, names in ((inspector, ("good before", "bad before")), (renewed, ("good", "bad")))
    )
    report = compare_ranges(inspector, renewed, picture, before, after, recipe)
    if report.failures:
        raise GateError(
            f"the ranges of {len(first.good)} good parts are not taken, and nothing was stored: "
            f"{'; '.join(report.failures)}. Check the pictures, or export the bundle again with "
            "pairs of this line (--calib)"
        )
    golden = renewed.golden(picture)
    verdicts = derive(renewed, golden, second, *after, recipe)
    return Recalibration(ranges=ranges, report=report, verdicts=verdicts)


def _require_enough(first: Parts, second: Parts, recipe: VerdictRecipe) -> None:
    """Raise TooFewSamplesError unless either half can do its part."""
    total = len(first.good) + len(second.good)
    if len(second.good) < MIN_PARTS:
        raise TooFewSamplesError(
            f"new ranges need {2 * MIN_PARTS} good parts, half of them for the gate; there are "
            f"{total}. Add {2 * MIN_PARTS - total}"
        )
    try:
        recipe.require_enough(len(second.good))
    except TooFewSamplesError as err:
        raise TooFewSamplesError(
            f"of {total} good parts one half gives the ranges; the other sets the limits, and {err}"
        ) from err


def _measure(
    inspector: Inspector,
    picture: ImageArray,
    parts: Parts,
    recipe: VerdictRecipe,
    num_threads: Threads,
    on_step: OnStep,
) -> RangesState:
    """The ranges of the golden image and the good parts."""
    engine = inspector.engine
    in_use = ranges = engine.ranges
    total = _PASSES * len(parts.good)
    for number in range(_PASSES):
        edges: Edges = {}
        watching = Inspector(relevel(engine, ranges, num_threads=num_threads, edges=edges))
        golden = watching.golden(picture)
        for index, file in enumerate(parts.good):
            watching.inspect(golden, file, tile=recipe.tile)
            on_step("ranges", number * len(parts.good) + index + 1, total)
        ranges = RangesState(
            created_by=f"adcopilot-edge {adcopilot_edge.__version__}",
            created_at=datetime.now(timezone.utc).replace(microsecond=0),
            bundle=engine.bundle.id,
            golden_sha256=golden.image_sha256,
            num_good=len(parts.good),
            good_sha256=parts.good_sha256,
            replaces=None if in_use is None else in_use.id,
            layers=_widened(edges),
        )
    assert ranges is not None
    return ranges


def _widened(edges: Edges) -> Edges:
    """The edges with headroom. Raises CalibrationError where a tensor has one value throughout."""
    flat = [
        name for layers in edges.values() for name, (low, high) in layers.items() if low == high
    ]
    if flat:
        raise CalibrationError(
            f"INT8 needs ranges of some width, and on these parts the inputs of {', '.join(flat)} "
            "have one value throughout. Check the pictures"
        )
    return {
        graph: {
            name: (_HEADROOM * min(low, 0.0), _HEADROOM * max(high, 0.0))
            for name, (low, high) in layers.items()
        }
        for graph, layers in edges.items()
    }


def _score(
    inspector: Inspector,
    picture: ImageArray,
    parts: Parts,
    recipe: VerdictRecipe,
    steps: tuple[str, str],
    on_step: OnStep,
) -> tuple[Measured, Measured]:
    """What is said of the good and of the bad parts."""
    golden = inspector.golden(picture)
    good, bad = (
        measure_parts(inspector, golden, files, tile=recipe.tile, step=step, on_step=on_step)
        for step, files in zip(steps, (parts.good, parts.bad), strict=True)
    )
    return good, bad
