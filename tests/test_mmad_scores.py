"""MMAD's table against figures worked out by hand."""

from __future__ import annotations

import math

import pytest

from adcopilot_edge.calibration.mmad_scores import Mark, accuracy_table


def marks(dataset: str, task: str, normal: tuple[int, int], bad: tuple[int, int]) -> list[Mark]:
    """Marks of a task: how many of the normal images are right and wrong, and of the bad ones."""
    return [
        Mark(dataset=dataset, task=task, is_normal=is_normal, is_correct=is_correct)
        for is_normal, counts in ((True, normal), (False, bad))
        for is_correct, count in zip((True, False), counts, strict=True)
        for _ in range(count)
    ]


@pytest.fixture
def both() -> list[Mark]:
    """Two data sets: VisA with 8 + 9 answers comes first, DS-MVTec with 4 + 3 second."""
    return [
        *marks("VisA", "Object Analysis", (1, 0), (2, 6)),  # 3 of 9
        *marks("VisA", "Anomaly Detection", (3, 1), (1, 3)),  # 75 and 25: 50
        *marks("DS-MVTec", "Object Analysis", (0, 0), (3, 0)),  # 3 of 3
        *marks("DS-MVTec", "Anomaly Detection", (1, 0), (1, 2)),  # 100 and 33.3: 66.7
    ]


def test_the_table(both: list[Mark]) -> None:
    table = accuracy_table(both)
    assert table.columns == (
        "Anomaly Detection", "Object Analysis", "Average", "Recall", "Precision", "F1"
    )  # fmt: skip
    assert list(table.rows) == ["DS-MVTec", "VisA", "Average"]
    # VisA: 1 of 4 bad ones found, 1 good one called bad: precision 1 / 2, F1 2 * 1/8 / (3/4).
    assert table.rows["VisA"] == pytest.approx(
        {
            "Anomaly Detection": 50,
            "Object Analysis": 100 / 3,
            "Average": (50 + 100 / 3) / 2,
            "Recall": 25,
            "Precision": 50,
            "F1": 100 / 3,
        }
    )
    assert table.rows["DS-MVTec"] == pytest.approx(
        {
            "Anomaly Detection": (100 + 100 / 3) / 2,
            "Object Analysis": 100,
            "Average": (200 / 3 + 100) / 2,
            "Recall": 100 / 3,
            "Precision": 100,
            "F1": 50,
        }
    )
    # The mean of the data sets, though one has more questions than the other.
    assert table.average == pytest.approx((250 / 3 + 125 / 3) / 2)
    assert table.rows["Average"]["F1"] == pytest.approx((50 + 100 / 3) / 2)


def test_the_csv_has_the_layout_of_mmad(both: list[Mark]) -> None:
    lines = accuracy_table(both).to_csv().splitlines()
    assert lines[0] == ",Anomaly Detection,Object Analysis,Average,Recall,Precision,F1"
    name, *cells = lines[2].split(",")
    assert name == "VisA"
    assert [float(cell) for cell in cells] == pytest.approx([50, 100 / 3, 125 / 3, 25, 50, 100 / 3])
    assert lines[3].startswith("Average,58.33333333333333")


def test_a_missing_cell_is_empty_and_counts_nowhere() -> None:
    table = accuracy_table(
        [
            *marks("VisA", "Defect Analysis", (0, 0), (1, 0)),
            *marks("GoodsAD", "Anomaly Detection", (0, 0), (1, 1)),
            *marks("mine", "colours", (0, 0), (1, 3)),
        ]
    )
    assert table.columns[:3] == ("Anomaly Detection", "Defect Analysis", "colours")
    assert list(table.rows) == ["VisA", "GoodsAD", "mine", "Average"]
    assert math.isnan(table.rows["VisA"]["Anomaly Detection"])
    assert table.rows["GoodsAD"]["Anomaly Detection"] == 50  # there are no normal images
    assert table.rows["VisA"]["Average"] == 100
    assert table.average == pytest.approx((100 + 50 + 25) / 3)
    assert table.to_csv().splitlines()[1] == "VisA,,100.0,,100.0,,,"
    assert table.to_json()["VisA"]["F1"] is None


def test_nothing_found_is_zero_not_an_error() -> None:
    row = accuracy_table(marks("VisA", "Anomaly Detection", (2, 0), (0, 2))).rows["VisA"]
    assert (row["Recall"], row["Precision"], row["F1"]) == (0, 0, 0)
