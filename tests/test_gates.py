"""Gates: what a quantized bundle may lose, by hand-computed figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from adcopilot_edge.calibration.agreement import BoxAnswer
from adcopilot_edge.calibration.evaluate import Predictions
from adcopilot_edge.calibration.gate_figures import judge
from adcopilot_edge.calibration.gates import GateLimits, GateReport, read_limits
from adcopilot_edge.calibration.held_out import HeldOut
from adcopilot_edge.errors import ConfigError, TooFewSamplesError
from adcopilot_edge.gate_record import Gate, GateCheck
from adcopilot_edge.metrics import balanced_accuracy
from adcopilot_edge.runtime.answer import LabelledBox
from adcopilot_edge.types import BBox, LabelledPair

BOX: BBox = (0.0, 0.0, 10.0, 10.0)
LIMITS = GateLimits(min_pairs=4)
ANY_FLIPS = GateLimits(min_pairs=4, max_flip_rate=1)


def make_pairs(
    num_good: int, num_bad: int, category: str = "board", *, num_unplaced: int = 0
) -> list[LabelledPair]:
    def pair(index: int, boxes: tuple[BBox, ...], *, is_unplaced: bool = False) -> LabelledPair:
        image = np.zeros((20, 20, 3), np.uint8)
        image[0, 0] = index % 256, index // 256, len(category)
        return LabelledPair(
            name=f"{category}{index}",
            category=category,
            golden=image,
            test=image,
            boxes=boxes,
            labels=("open",) * len(boxes),
            is_unplaced=is_unplaced,
        )

    bad = num_good + num_bad
    return [
        *(pair(index, ()) for index in range(num_good)),
        *(pair(index, (BOX,)) for index in range(num_good, bad)),
        *(pair(index, (), is_unplaced=True) for index in range(bad, bad + num_unplaced)),
    ]


def held_out(*sources: list[LabelledPair]) -> HeldOut:
    return HeldOut.of("made up", [pair for source in sources for pair in source])


def perfect(pairs: HeldOut, *, name: str = "fp32") -> Predictions:
    return Predictions(
        name=name,
        is_anomaly=tuple(truth.is_anomaly for truth in pairs.truths),
        scores=None,
        boxes={"map": tuple(truth.boxes for truth in pairs.truths)},
        bundle=f"id of {name}",
        precision="vision-fp32",
    )


def flipped(pairs: HeldOut, indices: range) -> Predictions:
    said = perfect(pairs, name="int8")
    verdicts = [verdict != (i in indices) for i, verdict in enumerate(said.is_anomaly)]
    return replace(said, is_anomaly=tuple(verdicts))


def find(report: GateReport, name: str, category: str | None = None) -> GateCheck:
    (check,) = [it for it in report.gate.checks if (it.name, it.category) == (name, category)]
    return check


def test_equal_bundles_pass_with_nothing_lost() -> None:
    pairs = held_out(make_pairs(100, 100))
    report = judge(pairs, perfect(pairs, name="int8"), perfect(pairs), LIMITS)
    assert not report.failures
    assert all((check.value, check.low, check.high) == (0, 0, 0) for check in report.gate.checks)
    assert report.to_json()["passed"]


def test_flips_are_counted_of_all_pairs() -> None:
    pairs = held_out(make_pairs(300, 100))
    one = judge(pairs, flipped(pairs, range(2)), perfect(pairs), LIMITS)
    assert find(one, "verdict flips").value == 0.005  # two of 400 are just allowed
    assert not one.failures
    three = judge(pairs, flipped(pairs, range(3)), perfect(pairs), LIMITS)
    assert [check.name for check in three.failures] == ["verdict flips"]
    assert find(three, "overkill rise").value == pytest.approx(0.01)


def test_an_interval_holds_what_other_pairs_would_have_given() -> None:
    pairs = held_out(make_pairs(100, 100))
    report = judge(pairs, flipped(pairs, range(20)), perfect(pairs), LIMITS)
    check = find(report, "overkill rise")
    # 20 of 100: the binomial's own 95 % are 0.12 to 0.28, to a pair.
    assert check.value == pytest.approx(0.2)
    assert check.low == pytest.approx(0.12, abs=0.015)
    assert check.high == pytest.approx(0.28, abs=0.015)


def test_balanced_accuracy_is_that_of_the_metrics() -> None:
    pairs = held_out(make_pairs(300, 100))
    truth = [truth.is_anomaly for truth in pairs.truths]
    one, other = flipped(pairs, range(270, 310)), flipped(pairs, range(6))
    limits = GateLimits(min_pairs=4, max_balanced_accuracy_drop=0.05)
    check = find(judge(pairs, one, other, limits), "balanced accuracy drop")
    drop = balanced_accuracy(truth, other.is_anomaly) - balanced_accuracy(truth, one.is_anomaly)
    assert check.value == pytest.approx(drop)  # 30 good and 10 bad ones lost, 6 good ones before
    assert drop == pytest.approx((24 / 300 + 10 / 100) / 2)
    assert not check.passed
    assert check.low < drop < check.high
    shown = find(judge(pairs, one, other, LIMITS), "balanced accuracy drop")
    assert (shown.limit, shown.passed) == (None, True)


def test_escapes_may_not_rise_in_one_category_behind_the_others() -> None:
    pairs = held_out(make_pairs(50, 50, "board"), make_pairs(50, 450, "disc"))
    said = flipped(pairs, range(50, 60))  # ten of the boards' fifty bad parts
    report = judge(pairs, said, perfect(pairs), ANY_FLIPS)
    assert {check.category for check in report.failures} == {None, "board"}
    assert find(report, "escapes rise", "disc").passed
    one = judge(pairs, flipped(pairs, range(50, 51)), perfect(pairs), ANY_FLIPS)
    assert find(one, "escapes rise", "board").value == 0.02
    assert not one.failures  # one in fifty: chance explains it


def test_other_figures_of_a_category_are_shown_and_not_judged() -> None:
    pairs = held_out(make_pairs(10, 10, "board"), make_pairs(0, 80, "disc"))
    report = judge(pairs, flipped(pairs, range(5)), perfect(pairs), ANY_FLIPS)
    assert [check.category for check in report.failures] == [None]
    for name, value in (("verdict flips", 0.25), ("overkill rise", 0.5), ("mIoU drop, map", 0)):
        check = find(report, name, "board")
        assert (check.value, check.limit) == (value, None)
    named = {check.name for check in report.gate.checks if check.category == "disc"}
    assert named == {"verdict flips", "escapes rise", "mIoU drop, map"}  # it has no good parts


def test_a_candidate_that_finds_more_is_no_failure() -> None:
    pairs = held_out(make_pairs(100, 100))
    report = judge(pairs, perfect(pairs, name="int8"), flipped(pairs, range(100, 150)), ANY_FLIPS)
    assert not report.failures
    assert find(report, "escapes rise").value == -0.5


def test_lost_boxes_are_a_failure() -> None:
    pairs = held_out(make_pairs(10, 100))
    half: BBox = (0.0, 0.0, 10.0, 5.0)
    boxes = tuple((half,) if truth.boxes else () for truth in pairs.truths)
    said = replace(perfect(pairs, name="int8"), boxes={"map": boxes})
    report = judge(pairs, said, perfect(pairs), LIMITS)
    assert [check.name for check in report.failures] == ["mIoU drop, map"]
    assert find(report, "mIoU drop, map").value == pytest.approx(0.5)
    assert find(report, "ACC@0.5 drop, map").value == 0
    turned = judge(pairs, perfect(pairs), replace(said, is_anomaly=(False,) * 110), ANY_FLIPS)
    own = turned.gate.reference_figures  # so that nobody takes a blind reference for a good gate
    assert own == {"balanced accuracy": 0.5, "mIoU, map": 0.5}


def test_a_defect_without_a_place_counts_for_verdicts_only() -> None:
    pairs = held_out(make_pairs(50, 40, num_unplaced=10))
    blind = replace(flipped(pairs, range(90, 100)), boxes={"map": ((),) * 100})
    report = judge(pairs, blind, perfect(pairs), ANY_FLIPS)
    assert find(report, "escapes rise").value == pytest.approx(0.2)
    assert find(report, "mIoU drop, map").value == 1  # of forty, not of fifty
    assert (report.gate.num_bad, report.gate.num_placed) == (50, 40)
    nowhere = held_out(make_pairs(50, 0, num_unplaced=50))
    report = judge(nowhere, perfect(nowhere, name="int8"), perfect(nowhere), LIMITS)
    assert report.gate.num_placed == 0
    assert not any("mIoU" in check.name for check in report.gate.checks)


def test_answers_that_differ_are_a_failure_if_a_limit_says_so() -> None:
    pairs = held_out(make_pairs(50, 50))
    here, there = BoxAnswer("", (LabelledBox(BOX, "open"),)), BoxAnswer("No defect", ())
    theirs = replace(perfect(pairs), answers=dict.fromkeys((1, 2, 60, 70), here))
    ours = replace(perfect(pairs, name="int8"), answers={**theirs.answers, 60: there})
    limits = GateLimits(min_answer_agreement=0.8)
    check = find(judge(pairs, ours, theirs, limits), "answer agreement")
    assert (check.value, check.passed) == (0.75, False)
    assert check.low < 0.75 < check.high
    enough = GateLimits(min_answer_agreement=0.75)
    assert find(judge(pairs, ours, theirs, enough), "answer agreement").passed
    shown = judge(pairs, ours, theirs, GateLimits())
    assert find(shown, "answer agreement").limit is None
    assert shown.gate.num_answers == 4
    with pytest.raises(ConfigError, match=r"no pair is asked about in words; .* --answers"):
        judge(pairs, perfect(pairs), perfect(pairs), limits)


def test_what_can_not_be_compared() -> None:
    pairs = held_out(make_pairs(50, 50))
    said = perfect(pairs)
    for other, message in (
        (replace(said, boxes={}), "boxes of fp32 come from: map; those of fp32: none"),
        (
            replace(said, answers={3: BoxAnswer("", ())}),
            "answered in words about 0 pairs, fp32 about 1",
        ),
        (replace(said, is_anomaly=(True,)), "there are 100 pairs, .* and fp32 about 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            judge(pairs, said, other, LIMITS)


def test_the_record_of_a_gate_is_strict_and_complete() -> None:
    pairs = held_out(make_pairs(60, 40))
    gate = judge(pairs, flipped(pairs, range(3)), perfect(pairs), GateLimits(), seed=7).gate
    assert Gate.model_validate_json(gate.model_dump_json()) == gate
    assert (gate.data, gate.sha256, gate.seed) == ("made up", pairs.sha256, 7)
    assert (gate.num_good, gate.num_bad, gate.num_answers) == (60, 40, 0)
    assert (gate.reference_bundle, gate.reference_precision) == ("id of fp32", "vision-fp32")
    assert gate.limits == {
        "max_flip_rate": 0.005,
        "max_miou_drop": 0.01,
        "max_overkill_rise": 0.01,
        "min_pairs": 100,
    }
    assert not gate.passed
    assert [check.name for check in gate.failures] == ["verdict flips", "overkill rise"]
    for name, value in (("checks", []), ("more", 1), ("sha256", "short")):
        with pytest.raises(ValidationError):
            Gate.model_validate({**gate.model_dump(), name: value})


@pytest.mark.parametrize("field", ["value", "low", "high", "limit"])
def test_no_figure_is_a_nan(field: str) -> None:
    numbers = {"value": 0.0, "low": 0.0, "high": 0.0, "limit": 0.0, field: np.nan}
    with pytest.raises(ValidationError, match="finite number"):
        GateCheck.model_validate({"name": "x", **numbers})


@pytest.mark.parametrize(
    ("rule", "passes", "fails"),
    [("value <= limit", 0.5, 0.49), ("low <= limit", 0.4, 0.39), ("value >= limit", 0.5, 0.51)],
)
def test_the_rule_says_what_is_held_against_the_limit(
    rule: str, passes: float, fails: float
) -> None:
    fields = {"name": "x", "value": 0.5, "low": 0.4, "high": 0.6, "rule": rule}
    assert GateCheck.model_validate({**fields, "limit": passes}).passed
    assert not GateCheck.model_validate({**fields, "limit": fails}).passed


@pytest.mark.parametrize(("num_good", "num_bad"), [(40, 40), (0, 200), (200, 0)])
def test_too_few_pairs_say_nothing(num_good: int, num_bad: int) -> None:
    pairs = held_out(make_pairs(num_good, num_bad))
    with pytest.raises(TooFewSamplesError, match=f"there are {num_good} good and {num_bad} bad"):
        judge(pairs, perfect(pairs), perfect(pairs), GateLimits())


def test_limits_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "gates.toml"
    file.write_text("max_flip_rate = 0.02\nmin_answer_agreement = 0.9\n")
    assert read_limits(file) == GateLimits(max_flip_rate=0.02, min_answer_agreement=0.9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_flips = 1", "max_flips: Extra inputs .* limits are max_flip_rate, max_miou_drop"),
        ("max_flip_rate = 2", "max_flip_rate: Input should be less than or equal to 1"),
        ("min_answer_agreement = nan", "min_answer_agreement: Input should be"),
        ("max_flip_rate =", "can't be read as TOML"),
    ],
)
def test_limits_that_make_no_sense(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "gates.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_limits(file)
