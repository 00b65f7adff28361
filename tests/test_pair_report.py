"""Figures of inspected pairs against values worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adcopilot_edge.calibration.inspect_run import Inspected
from adcopilot_edge.calibration.mmad_bbox import report_bbox
from adcopilot_edge.calibration.pair_report import report_pairs, worst_cases
from adcopilot_edge.runtime.pair_folder import PairFile
from adcopilot_edge.types import BBox, Verdict

BOX: BBox = (0, 0, 10, 10)
HALF: BBox = (0, 0, 10, 5)
BESIDE: BBox = (20, 20, 30, 30)


def inspected(name: str, label: str, verdict: Verdict, score: float, **more: Any) -> Inspected:
    is_bad = label != "good"
    values: dict[str, Any] = {
        "size": (40, 40),
        "map_boxes": (),
        "word_boxes": None,
        "was_asked": False,
        "types": None,
        "truth": (BOX,) if is_bad else (),
        "total_ms": 2.0,
    }
    pair = PairFile(
        name=name,
        category=more.pop("category", "lid"),
        golden=Path("golden.png"),
        test=Path(name),
        is_anomaly=is_bad,
        labels=(label,) if is_bad else (),
    )
    return Inspected(pair=pair, verdict=verdict, score=score, **(values | more))


@pytest.fixture
def line() -> list[Inspected]:
    """Three bad and three good parts: one escape, one overkill, one bad one left undecided."""
    return [
        inspected("1", "dent", "anomaly", 0.9, map_boxes=(HALF,), types=("dent",)),
        inspected("2", "dent", "normal", 0.2, types=("dent",)),
        inspected("3", "rust", "uncertain", 0.5, types=(), category="cup"),
        inspected("4", "good", "anomaly", 0.6, map_boxes=(BESIDE,), types=("rust", "dent")),
        inspected("5", "good", "normal", 0.1, types=()),
        inspected("6", "good", "normal", 0.3, types=(), category="cup"),
    ]


def test_verdicts(line: list[Inspected]) -> None:
    report = report_pairs(line)
    expected = {
        "pairs": 6,
        "bad": 3,
        "balanced_accuracy": round((1 / 2 + 2 / 3) / 2, 4),  # without the undecided
        "auroc": round(6 / 9, 4),  # 0.9 beats 3 good ones, 0.2 beats 1, 0.5 beats 2
        "escapes": 1,
        "overkill": 1,
        "uncertain": 1,
    }
    assert {key: report[key] for key in expected} == expected
    assert report["median_ms"] == 2
    assert report["by_category"]["cup"]["balanced_accuracy"] == 1
    assert report["by_category"]["cup"]["uncertain"] == 1
    assert report["by_label"] == {
        "dent": {"pairs": 2, "escapes": 1},
        "rust": {"pairs": 1, "escapes": 0},
    }


def test_confusion_by_type(line: list[Inspected]) -> None:
    assert report_pairs(line)["confusion"] == {
        "dent": {"dent": 1, "(normal)": 1},
        "good": {"(normal)": 2, "rust": 1, "dent": 1},
        "rust": {"(no type)": 1},
    }
    assert "confusion" not in report_pairs([inspected("1", "dent", "normal", 0.1)])


def test_all_uncertain_has_no_accuracy() -> None:
    report = report_pairs([inspected("1", "dent", "uncertain", 0.5)])
    assert (report["balanced_accuracy"], report["auroc"]) == (None, None)


def test_the_worst_come_first(line: list[Inspected]) -> None:
    assert [item.pair.name for item in worst_cases(line, 12)] == ["2", "4", "1"]
    assert [item.pair.name for item in worst_cases(line, 1)] == ["2"]


def test_boxes_by_the_rules() -> None:
    """Found half, split in two, beside, nothing, unreadable; then normal parts."""

    def bad(name: str, words: Any, category: str = "VisA") -> Inspected:
        return inspected(
            name, "dent", "normal", 0.1, word_boxes=words, was_asked=True, category=category
        )  # fmt: skip

    halves = (((0, 0, 10, 5), "dent"), ((0, 5, 10, 10), "dent"))
    items = [
        bad("1", ((HALF, "dent"),)),  # 0.5
        bad("2", halves),  # 1, though each half alone is 0.5
        bad("3", ((BESIDE, "dent"),)),  # 0
        bad("4", ()),  # 0
        bad("5", None, "GoodsAD"),  # unreadable: 0
        inspected("6", "good", "normal", 0.1, word_boxes=((BOX, "rust"),), was_asked=True),
        inspected("7", "good", "normal", 0.1, word_boxes=(), was_asked=True),
        inspected("8", "dent", "normal", 0.1, truth=None, was_asked=True, word_boxes=()),
    ]
    report = report_bbox(items)
    assert (report["scored"], report["normal"], report["without_place"]) == (5, 2, 1)
    words = report["words"]
    figures = {key: words["all"][key] for key in ("miou", "acc@0.1", "acc@0.3", "acc@0.5")}
    assert figures == {"miou": 0.3, "acc@0.1": 0.4, "acc@0.3": 0.4, "acc@0.5": 0.4}
    assert words["by_category"]["VisA"]["miou"] == 0.375
    assert words["by_category"]["GoodsAD"]["miou"] == 0
    assert (words["unreadable"], words["without_boxes"], words["normal_with_boxes"]) == (1, 2, 1)
    # One to one, the half of 1 and the first half of 2 match, of 4 predicted and 5 true boxes.
    assert words["all"]["one_to_one"]["same_label"]["f_score"] == round(4 / 9, 4)
    assert report["map"]["all"]["miou"] == 0
