"""Reads labelled pairs from JSON lines, as Chat-AD pairs its images: one object a line.

``{"golden": "g.png", "test": "t.png", "category": "bolt", "label": "scratch", "boxes": [[x1, y1,
x2, y2]]}``, with ``"mask": "m.png"`` in place of boxes where there is one. Paths are relative to
the file. ``golden`` and ``test`` must be there; further keys are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from adcopilot_edge.calibration.selection import Candidate
from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.regions import connected_boxes
from adcopilot_edge.runtime.images import open_image
from adcopilot_edge.types import BBox, LabelledPair, MaskArray

# Labels of parts without a defect, in any case.
_GOOD = frozenset({"good", "normal", "ok"})
_MOST_FINDINGS = 10


class _Line(BaseModel):
    """One line of the file."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    golden: str
    test: str
    category: str | None = None
    label: str | None = None
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    mask: str | None = None

    @property
    def is_anomaly(self) -> bool:
        """Whether the line says that the part is defective."""
        if self.label is not None:
            return self.label.lower() not in _GOOD
        return bool(self.boxes) or self.mask is not None


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line, where it stands, and what its paths are relative to."""

    line: _Line
    name: str
    category: str
    root: Path

    def open(self) -> LabelledPair:
        """The pair with its pixels. Raises DatasetError or InputError."""
        golden, test = (open_image(self.root / path) for path in (self.line.golden, self.line.test))
        boxes: tuple[BBox, ...] = self.line.boxes
        mask: MaskArray | None = None
        if self.line.mask is not None:
            mask = np.asarray(open_image(self.root / self.line.mask).any(axis=2))
            if mask.shape != test.shape[:2]:
                raise DatasetError(
                    f"{self.name}: the mask has {mask.shape[1]}x{mask.shape[0]} pixels, the test "
                    f"image {test.shape[1]}x{test.shape[0]}"
                )
            boxes = boxes or tuple(connected_boxes(mask, min_area=1))
        try:
            return LabelledPair(
                name=self.name,
                category=self.category,
                golden=golden,
                test=test,
                boxes=boxes,
                labels=(self.line.label or "defect",) * len(boxes),
                mask=mask,
            )
        except ConfigError as err:
            raise DatasetError(str(err)) from err


def read_lines(path: Path) -> list[Candidate]:
    """The pairs of the file at ``path``; pictures are read when a candidate is opened.

    Raises:
        DatasetError: The file can't be read; or lines are no such objects, or name files that are
            not there: all of them are told.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as err:
        raise DatasetError(f"can't read the list of pairs {path}: {err}") from err
    found: list[Candidate] = []
    wrong: list[str] = []
    for number, row in enumerate(text.splitlines(), start=1):
        if not row.strip():
            continue
        try:
            line = _Line.model_validate_json(row)
        except ValidationError as err:
            first = err.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "line"
            wrong.append(f"line {number}: {place}: {first['msg']}")
            continue
        files = [line.golden, line.test, *([line.mask] if line.mask else [])]
        lacking = [name for name in files if not (path.parent / name).is_file()]
        wrong += [f"line {number}: {name} is not there" for name in lacking]
        category = line.category or path.stem
        entry = _Entry(line, f"{path.name}:{number}", category, path.parent)
        found.append(Candidate(category, line.is_anomaly, partial(_Entry.open, entry)))
    if wrong:
        rest = f"; and {len(wrong) - _MOST_FINDINGS} more" if len(wrong) > _MOST_FINDINGS else ""
        raise DatasetError(f"{path}: {'; '.join(wrong[:_MOST_FINDINGS])}{rest}")
    return found
