"""How results look on stdout: an inspection in lines for people, any record as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adcopilot_edge.types import Defect, Health, Inspection, PartResult

_NAME_WIDTH = 10


def print_json(record: dict[str, Any]) -> None:
    """Print one JSON object on one line; NaN, which JSON lacks, is an error."""
    print(json.dumps(record, allow_nan=False))


def print_inspection(inspection: Inspection) -> None:
    """Print verdict, boxes, words, notes and times as a block for people."""
    print_fact("verdict", f"{inspection.verdict}, anomaly score {inspection.anomaly_score:.3f}")
    print_fact("boxes", str(len(inspection.defects)))
    print_rows(map(_box_row, inspection.defects))
    for name, words in inspection.text.items():
        print_fact(name, words or "(no words)")
    if inspection.health is not None:
        print_fact("health", _health_words(inspection.health))
    if inspection.notes:
        print_fact("notes", ", ".join(inspection.notes))
    times = (f"{stage} {ms:.1f}" for stage, ms in inspection.timings_ms.items())
    print_fact("times, ms", ", ".join(times))
    origin = (inspection.bundle, inspection.provider, inspection.precision)
    print_fact("bundle", ", ".join(origin))
    if inspection.calibration is not None:
        print_fact("calibrated", inspection.calibration)


def print_part(name: str, part: PartResult, width: int) -> None:
    """Print a line about one of many parts, and its words and notes below.

    Args:
        name: Of its picture.
        part: What came of it.
        width: Of the longest name.
    """
    if part.inspection is None:
        print(f"{name:<{width}}  error      {type(part.error).__name__}")
        return
    one = part.inspection
    print(
        f"{name:<{width}}  {one.verdict:<9}  score {one.anomaly_score:.3f}  "
        f"boxes {len(one.defects):>2}  {one.timings_ms['total']:7.1f} ms"
    )
    words = dict(one.text)
    if one.path != "model":
        words["decided by"] = one.path
    if one.notes:
        words["notes"] = ", ".join(one.notes)
    print_rows(
        (f"  {key}", " ".join(value.split()) or "(no words)") for key, value in words.items()
    )


def print_fact(name: str, value: str) -> None:
    """Print a name and its value, of which further lines are indented alike."""
    indent = "\n" + " " * (_NAME_WIDTH + 1)
    print(f"{name:<{_NAME_WIDTH}} {indent.join(value.splitlines())}")


def print_rows(rows: Iterable[Sequence[str]]) -> None:
    """Print an indented table: the first column to the left, the others to the right."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for first, *others in table:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join(["", f"{first:<{widths[0]}}", *cells]).rstrip())


def _health_words(health: Health) -> str:
    """How the test image differs from the golden's view, in one line."""
    return (
        f"offset {health.offset_x:+.1f} {health.offset_y:+.1f} px, brightness "
        f"x{health.brightness:.2f}, colour {health.colour_shift:.3f}, sharpness "
        f"x{health.sharpness:.2f}, similarity {health.similarity:.2f}"
    )


def _box_row(defect: Defect) -> tuple[str, ...]:
    """Label, x1, y1, x2, y2 and source; a line break in a label would break the table."""
    corners = (f"{value:.0f}" for value in defect.bbox_2d)
    return (" ".join(defect.label.split()), *corners, defect.source)
