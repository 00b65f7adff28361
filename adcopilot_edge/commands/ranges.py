"""What ``calibrate --ranges`` prints, and how it goes back. Not a verb of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from adcopilot_edge.commands.printing import print_fact, print_json

if TYPE_CHECKING:
    from adcopilot_edge.bundle import Bundle
    from adcopilot_edge.calibration.recalibration import Recalibration


def print_ranges(measured: Recalibration) -> None:
    """The new ranges, and what they did."""
    ranges, report = measured.ranges, measured.report
    layers = sum(map(len, ranges.layers.values()))
    before = "the bundle's own" if ranges.replaces is None else ranges.replaces
    print_fact("ranges", f"{ranges.id}, of {layers} layers, in the place of {before}")
    print_fact("measured", f"on {ranges.num_good} good parts and the golden image")
    rule = "the bundle's threshold" if report.rule is None else f"the verdict state {report.rule}"
    print_fact(
        "gate",
        f"{report.num_good} other good and {report.num_bad} bad parts, by {rule}\n"
        f"{report.flips} verdicts flip, {report.max_flips} may\n"
        f"good called anomalies: {report.overkill[0]} before, {report.overkill[1]} now, "
        f"{report.max_overkill} may be\n"
        f"bad called normal: {report.escapes[0]} before, {report.escapes[1]} now",
    )
    parity = f"{len(report.stages)} stages within tolerance" if report.stages else "none stored"
    print_fact("stored pair", parity)


def roll_back_both(bundle: Path, golden: Path, *, as_json: bool) -> None:
    """Bring the ranges before back, and with them the verdict state of one golden image.

    Started again after a crash it completes what it began.
    """
    from adcopilot_edge.bundle import open_bundle
    from adcopilot_edge.runtime.golden import pixel_hash
    from adcopilot_edge.runtime.images import open_image
    from adcopilot_edge.runtime.ranges_store import ranges_before, roll_back_ranges

    opened = open_bundle(bundle, verify=False)
    before = ranges_before(opened)
    ranges = None if before is None else before.id
    verdicts = _roll_back_verdicts(opened, pixel_hash(open_image(golden)), ranges)
    roll_back_ranges(opened)
    if as_json:
        print_json({"bundle": opened.id, "ranges": ranges, "verdicts": verdicts})
        return
    print_fact("ranges", ranges or "the bundle's own")
    print_fact("verdicts", verdicts or "none: the bundle's own threshold")


def _roll_back_verdicts(bundle: Bundle, golden_sha256: str, ranges: str | None) -> str | None:
    """The id of the verdict state under ``ranges``, brought back; None where there is none."""
    from adcopilot_edge.errors import StateError
    from adcopilot_edge.runtime.state_file import previous_path
    from adcopilot_edge.runtime.verdict_store import VERDICTS, roll_back, state_path

    path = state_path(bundle, golden_sha256)
    if path.exists():
        try:
            state = VERDICTS.read(path)
        except StateError as err:
            print(f"{err}", file=sys.stderr)
        else:
            if state.ranges == ranges:  # a crash left it, or nothing was stored since
                return state.id
    if previous_path(path).exists() and VERDICTS.read(previous_path(path)).ranges == ranges:
        back = roll_back(path, bundle=bundle.id, golden_sha256=golden_sha256, ranges=ranges)
        print(f"wrote {path}", file=sys.stderr)
        return back.id
    if path.exists():
        path.unlink()  # measured under ranges that are gone
        print(f"removed {path}", file=sys.stderr)
    return None
