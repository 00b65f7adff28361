"""The figures of merit against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.metrics import (
    BoxMetrics,
    balanced_accuracy,
    box_mask_iou,
    draw_boxes,
    measure_boxes,
    roc_auc,
)
from adcopilot_edge.types import BBox, LabelledPair


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [
        ([1, 1, 0, 0], [1, 1, 0, 0], 1.0),
        ([1, 1, 0, 0], [0, 0, 1, 1], 0.0),
        ([1, 1, 0, 0], [1, 1, 1, 1], 0.5),
        # 90 good and 10 bad, all called good: accuracy would say 0.9.
        ([0] * 90 + [1] * 10, [0] * 100, 0.5),
        ([1, 1, 1, 0], [1, 0, 0, 0], (1 / 3 + 1) / 2),
        ([1, 1, 1, 1], [1, 1, 1, 0], 0.75),
    ],
)
def test_balanced_accuracy(truth: list[int], predicted: list[int], expected: float) -> None:
    assert balanced_accuracy(truth, predicted) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("truth", "scores", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], 1.0),
        ([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9], 0.0),
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5], 0.5),
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.75),
        ([0, 1, 1], [0.5, 0.5, 0.9], 0.75),
    ],
)
def test_roc_auc(truth: list[int], scores: list[float], expected: float) -> None:
    assert roc_auc(truth, scores) == pytest.approx(expected)


def test_roc_auc_equals_counting_pairs(rng: np.random.Generator) -> None:
    truth, scores = rng.random(60) < 0.4, rng.integers(0, 12, 60).astype(float)
    wins = [(bad > good) + 0.5 * (bad == good) for bad in scores[truth] for good in scores[~truth]]
    assert roc_auc(truth, scores) == pytest.approx(np.mean(wins))


@pytest.mark.parametrize(
    ("predicted", "true", "expected"),
    [
        ([(0, 0, 10, 10)], [(0, 0, 10, 10)], 1.0),
        ([(0, 0, 10, 10)], [(10, 0, 20, 10)], 0.0),
        ([(0, 0, 10, 10)], [(5, 0, 15, 10)], 50 / 150),
        # Two halves count as one whole, and a box counts once however often it is given.
        ([(0, 0, 5, 10), (5, 0, 10, 10)], [(0, 0, 10, 10)], 1.0),
        ([(0, 0, 10, 10)] * 3, [(0, 0, 10, 10)], 1.0),
        ([], [(0, 0, 10, 10)], 0.0),
        ([(0, 0, 10, 10)], [], 0.0),
        ([], [], 1.0),
        # Outside the image there is nothing.
        ([(-50, -50, 10, 10)], [(0, 0, 10, 10)], 1.0),
        ([(30, 30, 90, 90)], [(30, 30, 40, 40)], 1.0),
    ],
)
def test_box_mask_iou(predicted: list[BBox], true: list[BBox], expected: float) -> None:
    assert box_mask_iou(predicted, true, 40, 40) == pytest.approx(expected)


def test_a_pixel_belongs_to_the_box_that_holds_its_centre() -> None:
    mask = draw_boxes([(1.4, 0.6, 3.5, 2.5)], 4, 6)
    assert np.argwhere(mask).tolist() == [[1, 1], [1, 2]]


def test_box_metrics_count_shares_at_each_threshold() -> None:
    metrics = BoxMetrics.from_ious([0.0, 0.1, 0.25, 0.5, 0.9])
    assert metrics.num_pairs == 5
    assert metrics.mean_iou == pytest.approx(0.35)
    assert metrics.accuracy == pytest.approx({0.1: 0.8, 0.2: 0.6, 0.3: 0.4, 0.5: 0.4})
    assert metrics.to_json() == {
        "pairs": 5, "miou": 0.35, "acc@0.1": 0.8, "acc@0.2": 0.6, "acc@0.3": 0.4, "acc@0.5": 0.4
    }  # fmt: skip


def test_box_metrics_of_nothing_are_not_a_number() -> None:
    metrics = BoxMetrics.from_ious([])
    assert metrics.num_pairs == 0
    assert math.isnan(metrics.mean_iou)


def test_measure_boxes_skips_good_pairs() -> None:
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    good = LabelledPair(name="a", category="c", golden=image, test=image)
    bad = LabelledPair(
        name="b", category="c", golden=image, test=image, boxes=((0, 0, 4, 4),), labels=("open",)
    )
    metrics = measure_boxes([good, bad, bad], [[(0, 0, 4, 4)], [(0, 0, 4, 4)], []])
    assert metrics.num_pairs == 2
    assert metrics.mean_iou == pytest.approx(0.5)
    somewhere = LabelledPair(name="d", category="c", golden=image, test=image, is_unplaced=True)
    assert somewhere.is_anomaly
    assert measure_boxes([bad, somewhere], [[], [(0, 0, 4, 4)]]).num_pairs == 1


def test_a_defect_with_boxes_has_a_place() -> None:
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    with pytest.raises(ConfigError, match="pair a: it has boxes, so the place is known"):
        LabelledPair(
            name="a",
            category="c",
            golden=image,
            test=image,
            boxes=((0, 0, 4, 4),),
            labels=("open",),
            is_unplaced=True,
        )


def test_refuses_lists_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match=r"verdicts need one value for each sample"):
        balanced_accuracy([True, False], [True])
    with pytest.raises(ConfigError, match=r"at least one sample"):
        balanced_accuracy([], [])
    with pytest.raises(ConfigError, match=r"got only one of them"):
        roc_auc([True, True], [0.1, 0.2])
    with pytest.raises(ConfigError, match=r"box predictions"):
        measure_boxes([], [[]])
