"""Boxes matched one to one, against counts worked out by hand."""

from __future__ import annotations

import pytest

from adcopilot_edge.calibration.box_matches import BoxCounts, NamedBox, box_iou, count_matches

TRUE: list[NamedBox] = [((0, 0, 10, 10), "pin hole"), ((20, 0, 30, 10), "open")]


@pytest.mark.parametrize(
    ("other", "expected"),
    [((0, 0, 10, 10), 1), ((10, 0, 20, 10), 0), ((5, 0, 15, 10), 1 / 3), ((0, 0, 10, 5), 0.5)],
)
def test_iou(other: tuple[float, float, float, float], expected: float) -> None:
    assert box_iou((0, 0, 10, 10), other) == pytest.approx(expected)


def test_a_box_matches_once_and_its_class_counts() -> None:
    predicted: list[NamedBox] = [
        ((0, 0, 10, 9), "Pin-Hole"),
        ((0, 0, 10, 10), "pin hole"),  # the same defect again
        ((20, 0, 30, 10), "short"),  # another class
    ]
    same = count_matches([(predicted, TRUE)], same_label=True)
    assert (same.matched, same.predicted, same.true) == (1, 3, 2)
    assert same.f_score == pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))
    assert count_matches([(predicted, TRUE)], same_label=False).matched == 2


def test_an_iou_of_exactly_a_third_matches() -> None:
    """The limit is 0.33, a little less; 0.33 itself is not above it."""
    third = count_matches(
        [([((5, 0, 15, 10), "open")], [((0, 0, 10, 10), "open")])], same_label=True
    )
    assert third.matched == 1
    limit = count_matches(
        [([((0, 0, 33, 1), "open")], [((0, 0, 100, 1), "open")])], same_label=True
    )
    assert limit.matched == 0


def test_counts_add_up_over_images() -> None:
    counts = count_matches([(TRUE, TRUE), ([], TRUE), (TRUE[:1], [])], same_label=True)
    assert counts.to_json() == {
        "precision": 0.6667, "recall": 0.5, "f_score": 0.5714,
        "matched": 2, "predicted": 3, "true": 4,
    }  # fmt: skip


def test_nothing_is_zero() -> None:
    empty = BoxCounts(matched=0, predicted=0, true=0)
    assert (empty.precision, empty.recall, empty.f_score) == (0, 0, 0)
