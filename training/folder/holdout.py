"""The parts of a folder that never trained: as pairs in memory, and as a list for ``evaluate``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.training.folder.parts import Folder, Part, others_like
from adcopilot_edge.training.folder.pictures import find_outlines, take_view
from adcopilot_edge.training.synthetic.truth import box_of, union_of
from adcopilot_edge.types import LabelledPair


def held_out_pairs(folder: Folder, *, size: int) -> list[LabelledPair]:
    """Each part that is held out with its golden image, scaled to ``size``, and nothing changed."""
    return [_pair(folder, part, size) for part in folder.held_out]


def write_list(folder: Folder, parts: Sequence[Part], path: Path) -> None:
    """Write ``parts`` as JSON lines, as ``pair_list`` reads them; paths are absolute.

    Boxes are those that training uses, in pixels of the part's picture. A part of which a defect
    has no known place has none.
    """
    with atomic_write(path) as file:
        for part in parts:
            file.write(json.dumps(_line(folder, part)).encode() + b"\n")


def golden_of(folder: Folder, part: Part) -> Path:
    """The golden image of a part, or the first other good part of its category that trains."""
    if part.golden is not None:
        return part.golden
    good = [item for item in folder.train if item.image.is_normal]
    return others_like(part, good)[0].image.path


def _pair(folder: Folder, part: Part, size: int) -> LabelledPair:
    view = take_view(part, golden_of(folder, part), size)
    marks = view.marks
    return LabelledPair(
        name=part.image.path.name,
        category=part.image.category,
        golden=np.asarray(view.golden),
        test=np.asarray(view.test),
        boxes=tuple(box_of(mark, 0) for mark in marks or ()),
        labels=tuple(mark.label for mark in marks or ()),
        mask=None if marks is None else union_of(marks, size),
        is_unplaced=marks is None,
    )


def _line(folder: Folder, part: Part) -> dict[str, Any]:
    line: dict[str, Any] = {
        "golden": str(golden_of(folder, part).absolute()),
        "test": str(part.image.path.absolute()),
        "category": part.image.category,
    }
    if part.image.is_normal:
        return line
    outlines = find_outlines(part)
    if outlines is None:
        return {**line, "label": part.label}
    return {
        **line,
        "boxes": [list(box) for _, outline in outlines for box in outline.boxes],
        "label": [label for label, outline in outlines for _ in outline.boxes],
    }
