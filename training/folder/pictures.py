"""Golden image, part and the place of its defects at the size of the model's input.

What was read is kept in the memory of each process. Knows neither splits nor augmentation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from adcopilot_edge.runtime.images import open_raster
from adcopilot_edge.training.chat_ad.outline import Outline, find_outline
from adcopilot_edge.training.chat_ad.source import SourceDefect
from adcopilot_edge.training.folder.parts import Part
from adcopilot_edge.training.synthetic.drawing import Mark
from adcopilot_edge.types import BBox, ImageArray, MaskArray

Window = tuple[int, int, int, int]
"""Left, top, right and bottom of a part of a picture, in its pixels."""

_KEPT_VIEWS = 400  # 0.15 MB each at 224 pixels
_KEPT_PICTURES = 6
_LEAST_COVERED = 64  # of 255: how much of a scaled pixel a defect has to cover


@dataclass(frozen=True, slots=True)
class View:
    """Golden and part, (S, S) mode ``RGB``. marks: one a box; None where a place is not known."""

    golden: Image.Image
    test: Image.Image
    marks: tuple[Mark, ...] | None


def take_view(part: Part, golden: Path, size: int, window: Window | None = None) -> View:
    """The whole pictures scaled to ``size``, as the runtime does it, or a window of them.

    window: in pixels of the part's picture; one of another size than ``size`` is scaled.
    """
    if window is None:
        return View(
            _whole(golden, size), _whole(part.image.path, size), scaled_marks(part, size, None)
        )
    height, width = part.shape
    golden_picture = _picture(golden)
    if golden_picture.size != (width, height):
        golden_picture = golden_picture.resize((width, height), Image.Resampling.BICUBIC)
    side = (size, size)
    return View(
        golden_picture.crop(window).resize(side, Image.Resampling.BICUBIC),
        _picture(part.image.path).crop(window).resize(side, Image.Resampling.BICUBIC),
        scaled_marks(part, size, window),
    )


@lru_cache(maxsize=_KEPT_VIEWS)
def scaled_marks(part: Part, size: int, window: Window | None) -> tuple[Mark, ...] | None:
    """A mark (S, S) for each box in the window; None where a defect has no known place."""
    outlines = find_outlines(part)
    if outlines is None:
        return None
    height, width = part.shape
    seen = window or (0, 0, width, height)
    marks = []
    for label, outline in outlines:
        for box in outline.boxes:
            mask = _scale(_seen_of(outline, box, seen), size)
            if mask.any():
                marks.append(Mark(label, mask))
    return tuple(marks)


def find_outlines(part: Part) -> tuple[tuple[str, Outline], ...] | None:
    """The defects of a part with a known place; None where one of them has none."""
    height, width = part.shape
    found = [
        (defect.label, _outline(part.image.path, defect, (width, height)))
        for defect in part.image.defects
    ]
    known = tuple((label, outline) for label, outline in found if outline is not None)
    return known if len(known) == len(found) else None


def _seen_of(outline: Outline, box: BBox, window: Window) -> ImageArray:
    """What a window shows of an outline inside one of its boxes: (h, w), 0 or 255."""
    rows, columns = outline.mask.shape
    left = max(window[0], outline.left, math.floor(box[0]))
    top = max(window[1], outline.top, math.floor(box[1]))
    right = min(window[2], outline.left + columns, math.ceil(box[2]))
    bottom = min(window[3], outline.top + rows, math.ceil(box[3]))
    seen = np.zeros((window[3] - window[1], window[2] - window[0]), dtype=np.uint8)
    if left < right and top < bottom:
        part = outline.mask[
            top - outline.top : bottom - outline.top, left - outline.left : right - outline.left
        ]
        seen[top - window[1] : bottom - window[1], left - window[0] : right - window[0]][part] = 255
    return seen


def _scale(mask: ImageArray, size: int) -> MaskArray:
    """The pixels (S, S) that a defect covers by a quarter, or as much as it covers any."""
    picture = Image.fromarray(mask)
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BOX)
    scaled = np.asarray(picture)
    # A thin defect may cover no pixel of a small picture by much; it shows all the same.
    return np.asarray(scaled >= min(_LEAST_COVERED, max(1, int(scaled.max()))))


@lru_cache(maxsize=_KEPT_VIEWS)
def _outline(picture: Path, defect: SourceDefect, size: tuple[int, int]) -> Outline | None:
    return find_outline(defect, picture=picture, size=size, tell=lambda finding: None)


@lru_cache(maxsize=_KEPT_VIEWS)
def _whole(path: Path, size: int) -> Image.Image:
    return open_raster(path).resize((size, size), Image.Resampling.BICUBIC)


@lru_cache(maxsize=_KEPT_PICTURES)
def _picture(path: Path) -> Image.Image:
    return open_raster(path)
