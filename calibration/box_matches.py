"""Boxes matched one to one, by DeepPCB's rule: IoU above 0.33 and the same class.

Unlike the BBox-Mask IoU it counts boxes, so that splitting one defect into three costs precision.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from adcopilot_edge.types import BBox

MIN_IOU = 0.33

NamedBox = tuple[BBox, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxCounts:
    """How many boxes were predicted, are true, and match."""

    matched: int
    predicted: int
    true: int

    @property
    def precision(self) -> float:
        """The share of predicted boxes that match; 0 when there is none."""
        return self.matched / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """The share of true boxes that are matched; 0 when there is none."""
        return self.matched / self.true if self.true else 0.0

    @property
    def f_score(self) -> float:
        """The harmonic mean of precision and recall."""
        total = self.predicted + self.true
        return 2 * self.matched / total if total else 0.0

    def to_json(self) -> dict[str, Any]:
        """Precision, recall and F-score, rounded, beside the counts."""
        return {
            "precision": round(self.precision, 4),
            "recall": round(self.recall, 4),
            "f_score": round(self.f_score, 4),
            "matched": self.matched,
            "predicted": self.predicted,
            "true": self.true,
        }


def count_matches(
    images: Iterable[tuple[Sequence[NamedBox], Sequence[NamedBox]]], *, same_label: bool
) -> BoxCounts:
    """Count over images, each as its predicted and its true boxes.

    In each image a true box takes the first free predicted box that fits, as DeepPCB's script does.
    Two labels are the same when their letters and digits are, in whatever case.
    """
    matched = num_predicted = num_true = 0
    for predicted, true in images:
        free = list(predicted)
        for bbox, label in true:
            for candidate in free:
                fits = box_iou(candidate[0], bbox) > MIN_IOU
                if fits and (not same_label or _plain(candidate[1]) == _plain(label)):
                    free.remove(candidate)
                    matched += 1
                    break
        num_predicted += len(predicted)
        num_true += len(true)
    return BoxCounts(matched=matched, predicted=num_predicted, true=num_true)


def box_iou(one: BBox, other: BBox) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (one, other)]
    return shared / (sum(areas) - shared)


def _plain(label: str) -> str:
    """The label's letters and digits: "pin-hole" is "pin hole"."""
    return "".join(filter(str.isalnum, label.casefold()))
