"""A gate run: what is asked, how often, and what is refused before anything is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from grey_line import calibrated, write_line

from adcopilot_edge.bundle import Bundle, open_bundle, write_manifest
from adcopilot_edge.calibration.gate_run import ask, run_gate
from adcopilot_edge.calibration.gates import GateLimits
from adcopilot_edge.calibration.held_out import HeldOut, read_held_out
from adcopilot_edge.errors import DatasetError, TooFewSamplesError
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.types import LabelledPair

LIMITS = GateLimits(min_pairs=4)


@pytest.fixture(scope="module")
def toy(toy_bundle: Bundle) -> Inspector:
    return Inspector.open(toy_bundle.path, num_threads=1, calibrated=False)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> HeldOut:
    line = write_line(tmp_path_factory.mktemp("data") / "line", num_good=5, num_bad=3)
    return read_held_out([line], count=8, tile=56)


def test_both_bundles_are_asked_once_about_each_pair(toy: Inspector, pairs: HeldOut) -> None:
    steps: list[tuple[str, int, int]] = []
    report = run_gate(
        toy, toy, pairs, LIMITS, num_answers=0, on_step=lambda *step: steps.append(step)
    )
    names = ("reference", "candidate")
    assert steps == [(name, done, 8) for name in names for done in range(1, 9)]
    assert report.gate.num_answers == 0
    assert report.gate.reference_bundle == toy.engine.bundle.id
    assert report.gate.reference_precision == toy.engine.bundle.manifest.precision


def test_a_bundle_keeps_its_gate(toy: Inspector, pairs: HeldOut, damaged_bundle: Path) -> None:
    gate = run_gate(toy, toy, pairs, LIMITS, num_answers=1).gate
    manifest = toy.engine.bundle.manifest
    assert manifest.gate is None
    write_manifest(damaged_bundle, manifest.model_copy(update={"gate": gate}))
    assert open_bundle(damaged_bundle).manifest.gate == gate


def test_what_the_reference_said_may_be_kept(toy: Inspector, pairs: HeldOut) -> None:
    said = ask(toy, pairs, "reference", num_answers=2)
    steps: set[str] = set()
    kept = run_gate(
        toy, said, pairs, LIMITS, num_answers=2, on_step=lambda step, *_: steps.add(step)
    )
    assert steps == {"candidate"}
    assert kept == run_gate(toy, toy, pairs, LIMITS, num_answers=2)


def test_half_of_the_pairs_that_are_asked_about_are_bad(toy: Inspector, pairs: HeldOut) -> None:
    said = ask(toy, pairs, "reference", seed=3, num_answers=2)
    assert [pairs.truths[index].is_anomaly for index in sorted(said.answers)].count(True) == 1
    assert said.answers == ask(toy, pairs, "reference", seed=3, num_answers=2).answers


class _Unread:
    """Pairs that nobody may open again."""

    def __len__(self) -> int:
        return 8

    def __iter__(self) -> Iterator[LabelledPair]:
        raise AssertionError("a pair was opened")


def test_refusals_come_before_any_inspection(
    toy: Inspector, pairs: HeldOut, damaged_bundle: Path
) -> None:
    unread = HeldOut("line", _Unread(), pairs.truths)
    with pytest.raises(TooFewSamplesError, match="at least 100 pairs"):
        run_gate(toy, toy, unread, GateLimits())
    calibrated(damaged_bundle, list(pairs.pairs)[:2])
    learned = Inspector.open(damaged_bundle, calibrated=False)
    with pytest.raises(DatasetError, match="2 of the 8 held-out pairs were used"):
        run_gate(learned, toy, unread, LIMITS)
