"""Gates: what a quantized bundle may lose, by hand-computed figures and by damaged bundles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adcopilot_edge.calibration.evaluate import Predictions
from adcopilot_edge.calibration.gates import Check, GateLimits, GateReport, judge, read_limits
from adcopilot_edge.errors import ConfigError, TooFewSamplesError
from adcopilot_edge.types import BBox, LabelledPair

IMAGE = np.zeros((20, 20, 3), np.uint8)
BOX: BBox = (0.0, 0.0, 10.0, 10.0)
LIMITS = GateLimits(min_pairs=4)


def make_pairs(num_good: int, num_bad: int, category: str = "board") -> list[LabelledPair]:
    def pair(index: int, boxes: tuple[BBox, ...]) -> LabelledPair:
        return LabelledPair(
            name=f"{category}{index}",
            category=category,
            golden=IMAGE,
            test=IMAGE,
            boxes=boxes,
            labels=("open",) * len(boxes),
        )

    good = [pair(index, ()) for index in range(num_good)]
    return good + [pair(num_good + index, (BOX,)) for index in range(num_bad)]


def perfect(pairs: list[LabelledPair], *, name: str = "fp32") -> Predictions:
    return Predictions(
        name=name,
        is_anomaly=tuple(pair.is_anomaly for pair in pairs),
        scores=None,
        boxes={"map": tuple(pair.boxes for pair in pairs)},
    )


def flipped(pairs: list[LabelledPair], indices: range) -> Predictions:
    said = perfect(pairs, name="int8")
    verdicts = [verdict != (i in indices) for i, verdict in enumerate(said.is_anomaly)]
    return Predictions(name="int8", is_anomaly=tuple(verdicts), scores=None, boxes=dict(said.boxes))


def find(report: GateReport, name: str, category: str | None = None) -> Check:
    (check,) = [it for it in report.checks if (it.name, it.category) == (name, category)]
    return check


def test_equal_bundles_pass_with_nothing_lost() -> None:
    pairs = make_pairs(100, 100)
    report = judge(pairs, perfect(pairs, name="int8"), perfect(pairs), LIMITS)
    assert not report.failures
    assert all((check.value, check.low, check.high) == (0, 0, 0) for check in report.checks)
    assert report.to_json()["passed"]


def test_flips_are_counted_of_all_pairs() -> None:
    pairs = make_pairs(300, 100)
    one = judge(pairs, flipped(pairs, range(2)), perfect(pairs), LIMITS)
    assert find(one, "verdict flips").value == 0.005  # two of 400 are just allowed
    assert not one.failures
    three = judge(pairs, flipped(pairs, range(3)), perfect(pairs), LIMITS)
    assert [check.name for check in three.failures] == ["verdict flips"]
    assert find(three, "overkill rise").value == pytest.approx(0.01)


def test_an_interval_holds_what_other_pairs_would_have_given() -> None:
    pairs = make_pairs(100, 100)
    report = judge(pairs, flipped(pairs, range(20)), perfect(pairs), LIMITS)
    check = find(report, "overkill rise")
    # 20 of 100: the binomial's own 95 % are 0.12 to 0.28, to a pair.
    assert check.value == pytest.approx(0.2)
    assert check.low == pytest.approx(0.12, abs=0.015)
    assert check.high == pytest.approx(0.28, abs=0.015)


def test_escapes_may_not_rise_in_one_category_behind_the_others() -> None:
    pairs = make_pairs(50, 50, "board") + make_pairs(50, 450, "disc")
    limits = GateLimits(min_pairs=4, max_flip_rate=1)
    said = flipped(pairs, range(50, 60))  # ten of the boards' fifty bad parts
    report = judge(pairs, said, perfect(pairs), limits)
    assert {check.category for check in report.failures} == {None, "board"}
    assert find(report, "escapes rise", "disc").passed
    one = judge(pairs, flipped(pairs, range(50, 51)), perfect(pairs), limits)
    assert find(one, "escapes rise", "board").value == 0.02
    assert not one.failures  # one in fifty: chance explains it


def test_a_candidate_that_finds_more_is_no_failure() -> None:
    pairs = make_pairs(100, 100)
    limits = GateLimits(min_pairs=4, max_flip_rate=1)
    report = judge(pairs, perfect(pairs, name="int8"), flipped(pairs, range(100, 150)), limits)
    assert not report.failures
    assert find(report, "escapes rise").value == -0.5


def test_lost_boxes_are_a_failure() -> None:
    pairs = make_pairs(10, 100)
    said = perfect(pairs, name="int8")
    half: BBox = (0.0, 0.0, 10.0, 5.0)
    boxes = tuple((half,) if pair.is_anomaly else () for pair in pairs)
    said = Predictions(name="int8", is_anomaly=said.is_anomaly, scores=None, boxes={"map": boxes})
    report = judge(pairs, said, perfect(pairs), LIMITS)
    assert [check.name for check in report.failures] == ["mIoU drop, map"]
    assert find(report, "mIoU drop, map").value == pytest.approx(0.5)
    assert find(report, "ACC@0.5 drop, map").value == 0


def test_nan_never_passes() -> None:
    assert not Check(
        name="x", category=None, value=np.nan, low=np.nan, high=np.nan, limit=0.1, judged=np.nan
    ).passed


@pytest.mark.parametrize(("num_good", "num_bad"), [(40, 40), (0, 200), (200, 0)])
def test_too_few_pairs_say_nothing(num_good: int, num_bad: int) -> None:
    pairs = make_pairs(num_good, num_bad)
    with pytest.raises(TooFewSamplesError, match=f"there are {num_good} good and {num_bad} bad"):
        judge(pairs, perfect(pairs), perfect(pairs), GateLimits())


def test_limits_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "gates.toml"
    file.write_text("max_flip_rate = 0.02\n")
    assert read_limits(file) == GateLimits(max_flip_rate=0.02)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_flips = 1", "max_flips: Extra inputs .* limits are max_flip_rate, max_miou_drop"),
        ("max_flip_rate = 2", "max_flip_rate: Input should be less than or equal to 1"),
        ("max_flip_rate =", "can't be read as TOML"),
    ],
)
def test_limits_that_make_no_sense(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "gates.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_limits(file)
