"""Figures of merit for verdicts and boxes. Every choice that changes a figure is stated here.

Verdicts: balanced accuracy and the area under the ROC curve. Boxes: the BBox-Mask IoU of the
MMAD-BBox benchmark, which draws all predicted boxes into one mask and all true boxes into another
and takes the IoU of the two masks; neither the number of boxes nor their labels matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.types import BBox, LabelledPair, MaskArray

IOU_THRESHOLDS = (0.1, 0.2, 0.3, 0.5)


def balanced_accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """The mean of the share of anomalies called so and the share of good pairs called so.

    With only one of the two classes in ``truth`` it is the share of that class.

    Args:
        truth: (S,) bool, true for an anomaly.
        predicted: (S,) bool.

    Raises:
        ConfigError: no sample, or the lengths differ.
    """
    true, called = np.asarray(truth, dtype=np.bool_), np.asarray(predicted, dtype=np.bool_)
    _check_lengths("verdicts", true.shape, called.shape)
    shares = [float((called[true == kind] == kind).mean()) for kind in np.unique(true)]
    return sum(shares) / len(shares)


def roc_auc(truth: ArrayLike, scores: ArrayLike) -> float:
    """The chance that an anomaly scores higher than a good pair; a tie counts half.

    Args:
        truth: (S,) bool, true for an anomaly.
        scores: (S,) float, higher for an anomaly.

    Raises:
        ConfigError: no sample, the lengths differ, or a class is missing.
    """
    true, values = np.asarray(truth, dtype=np.bool_), np.asarray(scores, dtype=np.float64)
    _check_lengths("scores", true.shape, values.shape)
    num_bad, num_good = int(true.sum()), int((~true).sum())
    if num_bad == 0 or num_good == 0:
        raise ConfigError("an ROC curve needs anomalies and good pairs, got only one of them")
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[true].sum() - num_bad * (num_bad + 1) / 2) / (num_bad * num_good))


def draw_boxes(boxes: Sequence[BBox], height: int, width: int) -> MaskArray:
    """(H, W) bool, true where the centre of a pixel lies in any of ``boxes``.

    Parts of a box outside the image are cut off; a box without area draws nothing.
    """
    mask = np.zeros((height, width), dtype=np.bool_)
    for x1, y1, x2, y2 in boxes:
        left, right = _first_centre(x1, width), _first_centre(x2, width)
        top, bottom = _first_centre(y1, height), _first_centre(y2, height)
        mask[top:bottom, left:right] = True
    return mask


def box_mask_iou(
    predicted_boxes: Sequence[BBox], true_boxes: Sequence[BBox], height: int, width: int
) -> float:
    """The BBox-Mask IoU, 0..1, in an image of ``height`` x ``width`` pixels.

    The benchmark does not say at which resolution it draws; here it is that of the test image. It
    does not say either what an image without any box gives; here that is 1, both agree.
    """
    return mask_iou(
        draw_boxes(predicted_boxes, height, width), draw_boxes(true_boxes, height, width)
    )


def mask_iou(predicted: MaskArray, true: MaskArray) -> float:
    """The IoU of two masks (H, W), 0..1; 1 where both are empty."""
    union = int(np.count_nonzero(predicted | true))
    return int(np.count_nonzero(predicted & true)) / union if union else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxMetrics:
    """BBox-Mask IoU over the defective pairs of a set.

    num_pairs: how many there are of which the place is known. mean_iou: the mean of their IoU,
    0..1. accuracy: for each threshold of ``IOU_THRESHOLDS`` the share of pairs whose IoU is at
    least that. Good pairs do not count, since the benchmark is silent about them; false boxes on
    them show in the verdict. A defective pair without a predicted box, or with an answer that could
    not be read, counts as 0.
    """

    num_pairs: int
    mean_iou: float
    accuracy: dict[float, float]

    @classmethod
    def from_ious(cls, ious: Sequence[float]) -> BoxMetrics:
        """The summary of the IoU of each defective pair; all figures are NaN when there is none."""
        values = np.asarray(ious, dtype=np.float64)
        if values.size == 0:
            nothing = dict.fromkeys(IOU_THRESHOLDS, math.nan)
            return cls(num_pairs=0, mean_iou=math.nan, accuracy=nothing)
        accuracy = {limit: float((values >= limit).mean()) for limit in IOU_THRESHOLDS}
        return cls(num_pairs=values.size, mean_iou=float(values.mean()), accuracy=accuracy)

    def to_json(self) -> dict[str, Any]:
        """The figures as one JSON object, such as ``{"pairs": 9, "miou": 0.6, "acc@0.1": 1.0}``."""
        shares = {f"acc@{limit}": round(share, 4) for limit, share in self.accuracy.items()}
        return {"pairs": self.num_pairs, "miou": round(self.mean_iou, 4), **shares}


def measure_boxes(pairs: Sequence[LabelledPair], predicted: Sequence[Sequence[BBox]]) -> BoxMetrics:
    """The box metrics of ``predicted``, one sequence of boxes for each of ``pairs``.

    Raises:
        ConfigError: the lengths differ, or there is no pair.
    """
    _check_lengths("box predictions", (len(pairs),), (len(predicted),))
    return BoxMetrics.from_ious(
        [
            box_mask_iou(boxes, pair.boxes, *pair.test.shape[:2])
            for pair, boxes in zip(pairs, predicted, strict=True)
            if pair.boxes
        ]
    )


def _first_centre(edge: float, limit: int) -> int:
    """The first pixel whose centre is not before ``edge``, within 0..``limit``."""
    return min(limit, max(0, math.ceil(edge - 0.5)))


def _check_lengths(what: str, true: tuple[int, ...], given: tuple[int, ...]) -> None:
    if true != given or len(true) != 1 or true[0] == 0:
        raise ConfigError(
            f"{what} need one value for each sample and at least one sample, "
            f"got truth of shape {true} and values of shape {given}"
        )
