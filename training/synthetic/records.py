"""The records of the synthetic generator. It knows nothing of how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from adcopilot_edge.types import BBox, ImageArray, LabelledPair, MaskArray

BOARD_LABELS = ("open", "short", "mouse bite", "spur", "spurious copper", "pin hole")
SURFACE_LABELS = ("scratch", "stain", "crack", "dent", "contamination", "discolouration")
PART_LABELS = ("missing part", "misplaced part")
DEFECT_LABELS: tuple[str, ...] = BOARD_LABELS + SURFACE_LABELS + PART_LABELS

PixelBox = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticDefect:
    """One defect of a synthetic test image.

    bbox_2d: (x1, y1, x2, y2) whole pixels of the test image, x2 and y2 exclusive; it holds every
    pixel of the defect and some pixels around them, as a person draws a box. area: the number of
    defective pixels.
    """

    label: str
    bbox_2d: PixelBox
    area: int

    @property
    def bbox(self) -> BBox:
        """The box as the records of all sources have it."""
        x1, y1, x2, y2 = self.bbox_2d
        return float(x1), float(y1), float(x2), float(y2)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticPair:
    """A golden and a test image made by `generate_pair`, with the truth about the test image.

    golden, test: (H, W, 3) uint8 RGB. mask: (H, W) bool, the union of all defects in pixels of
    ``test``; empty for a good part. Boxes of two defects may touch, their pixels do not overlap by
    design but the union does not tell them apart.
    """

    golden: ImageArray = field(repr=False)
    test: ImageArray = field(repr=False)
    mask: MaskArray = field(repr=False)
    defects: tuple[SyntheticDefect, ...]
    surface: str
    seed: int

    @property
    def is_anomaly(self) -> bool:
        """True when the test image has at least one defect."""
        return bool(self.defects)

    def to_labelled(self) -> LabelledPair:
        """The pair as the record that training and evaluation share; arrays are not copied."""
        return LabelledPair(
            name=f"synthetic-{self.surface.replace(' ', '-')}-{self.seed}",
            category=self.surface,
            golden=self.golden,
            test=self.test,
            boxes=tuple(defect.bbox for defect in self.defects),
            labels=tuple(defect.label for defect in self.defects),
            mask=self.mask,
        )


def padded_bounds(mask: MaskArray, padding: int) -> PixelBox | None:
    """The box around the true pixels of ``mask`` (H, W), grown and clipped; None if there are none.

    Args:
        mask: (H, W) bool.
        padding: pixels added on each side.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask.any(axis=0))
    height, width = mask.shape
    return (
        max(0, int(columns[0]) - padding),
        max(0, int(rows[0]) - padding),
        min(width, int(columns[-1]) + 1 + padding),
        min(height, int(rows[-1]) + 1 + padding),
    )
