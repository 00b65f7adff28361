"""A vision side in INT8 before the gate: admitted, refused, or admitted with some modules in float.

The weights are random, so only what INT8 changes against float says anything, not the truth.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from outliers import inject_outliers
from tiny import tiny_checkpoint

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.calibration.gates import GateLimits
from adcopilot_edge.calibration.held_out import HeldOut
from adcopilot_edge.calibration.pairs import CalibrationPairs
from adcopilot_edge.errors import ConfigError, DatasetError, GateError
from adcopilot_edge.export import fallback
from adcopilot_edge.export.admission import LOG_FILE
from adcopilot_edge.export.gate_plan import GatePlan
from adcopilot_edge.export.pipeline import export_bundle
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.gate_record import Gate
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.types import LabelledPair

pytestmark = pytest.mark.torch

SIZE = 112
INT8 = ExportRecipe(
    image_height=SIZE, image_width=SIZE, vision="int8", int8_form="dynamic", is_proven=False
)


def pairs(first: int, count: int) -> list[LabelledPair]:
    seeds = range(first, first + count)
    return [generate_pair(seed, size=SIZE, surface="binary board").to_labelled() for seed in seeds]


HELD_OUT = HeldOut.of("generated boards", pairs(200, 24))
CALIBRATION = CalibrationPairs("others", pairs(0, 3))
# Random maps are cut at a threshold anywhere, so that boxes come and go with every rounding.
EASY = GateLimits(min_pairs=24, max_flip_rate=0.13, max_overkill_rise=0.2, max_miou_drop=1)
PLAN = GatePlan(held_out=HELD_OUT, limits=EASY, num_answers=2)
# Nothing may change at all.
STRICT = GateLimits(min_pairs=24, max_flip_rate=0, max_overkill_rise=0, max_miou_drop=0)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same function, with outliers that its second block's layers get."""
    folder = tiny_checkpoint(tmp_path_factory.mktemp("hard") / "checkpoint")
    inject_outliers(folder, [1])
    return folder


def log_of(path: Path) -> dict[str, dict[str, Any]]:
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return {record.pop("key"): record for record in records[1:]}


def test_what_passes_says_so_in_its_manifest(checkpoint: Path, tmp_path: Path) -> None:
    bundle = export_bundle(checkpoint, tmp_path / "out", INT8, pairs=(), gate=PLAN)
    gate = open_bundle(bundle.path).manifest.gate
    assert gate is not None
    assert gate.passed
    assert gate.reference_precision == "vision-fp32+comparison-fp32+decoder-fp32"
    assert gate.num_good + gate.num_bad == 24
    assert gate.sha256 == HELD_OUT.sha256
    assert gate.limits["max_flip_rate"] == 0.13
    assert bundle.manifest.fallback is None
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not [path for path in bundle.path.iterdir() if path.name.startswith(".")]


def test_what_fails_is_no_bundle_but_a_log(hard: Path, tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"refuses this bundle: verdict flips .*--fall-back") as err:
        export_bundle(hard, tmp_path / "out", INT8, pairs=(), gate=PLAN)
    (log,) = tmp_path.iterdir()
    assert log.name == "out.refused.jsonl"
    assert str(log) in str(err.value)
    trial = log_of(log)["trial 0"]
    assert not trial["passed"]
    assert trial["gate"]["checks"]


def test_what_fails_is_admitted_with_its_outliers_in_float(
    hard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is timed at this size is the machine: a slower INT8 would be given up for float32.
    monkeypatch.setattr(fallback, "vision_ratio", lambda *_: 1.3)
    with pytest.raises(GateError):
        export_bundle(hard, tmp_path / "out", INT8, pairs=(), gate=PLAN)
    plan = replace(PLAN, can_fall_back=True)
    bundle = export_bundle(
        hard, tmp_path / "out", INT8, pairs=(), calibration=CALIBRATION, gate=plan
    )
    manifest = bundle.manifest
    kept = manifest.graphs["vision"].kept
    assert {"visual.blocks.1.attn", "visual.blocks.1.mlp"} & set(kept)
    assert manifest.gate is not None
    assert manifest.gate.passed
    assert manifest.fallback is not None
    assert 0 < manifest.fallback.num_kept < manifest.fallback.num_modules
    assert [path.name for path in tmp_path.iterdir()] == ["out"]  # the old refusal is gone
    log = log_of(bundle.file(LOG_FILE))
    assert sum(key.startswith("sensitivity ") for key in log) == manifest.fallback.num_modules
    assert sum(key.startswith("trial ") for key in log) == manifest.fallback.num_trials
    assert not log["trial 0"]["passed"]
    assert log[f"trial {manifest.fallback.num_kept}"]["passed"]
    losses = {key: record["loss"] for key, record in log.items() if "loss" in record}
    assert max(losses, key=lambda key: losses[key]).startswith("sensitivity visual.blocks.1.")


def test_a_search_that_was_killed_goes_on(
    hard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(PLAN, can_fall_back=True)
    steps: list[str] = []

    def stop(step: str, done: int, total: int) -> None:
        steps.append(step)
        if step == "sensitivity" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_bundle(
            *(hard, tmp_path / "out", INT8),
            pairs=(),
            calibration=CALIBRATION,
            gate=plan,
            on_step=stop,
        )
    (left,) = tmp_path.iterdir()
    before = (left / LOG_FILE).read_bytes()
    done = set(log_of(left / LOG_FILE))
    assert "trial 0" in done
    bundle = export_bundle(
        hard, tmp_path / "out", INT8, pairs=(), calibration=CALIBRATION, gate=plan
    )
    assert bundle.file(LOG_FILE).read_bytes().startswith(before)


def test_a_search_that_finds_nothing_blames_the_language_model(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fallback, "measure_sensitivity", lambda *_, **__: ())
    monkeypatch.setattr(fallback, "rank", lambda _: ("visual.merger.mlp",))
    plan = replace(PLAN, limits=STRICT, can_fall_back=True)
    with pytest.raises(
        GateError,
        match=r"whole vision side in fp32: .*What is left to blame is the language model in int4",
    ):
        export_bundle(
            checkpoint,
            tmp_path / "out",
            replace(INT8, llm="int4"),
            pairs=(),
            calibration=CALIBRATION,
            gate=plan,
        )


@pytest.mark.parametrize(("ratio", "chosen"), [(1.3, "int8"), (0.9, "fp32")])
def test_int8_that_is_not_faster_is_not_chosen(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ratio: float,
    chosen: str,
) -> None:
    monkeypatch.setattr(fallback, "vision_ratio", lambda *_: ratio)
    plan = replace(PLAN, can_fall_back=True)
    bundle = export_bundle(
        checkpoint, tmp_path / "out", INT8, pairs=(), calibration=CALIBRATION, gate=plan
    )
    found = bundle.manifest.fallback
    assert found is not None
    assert (found.chosen, found.speed_ratio) == (chosen, ratio)
    assert bundle.manifest.graphs["vision"].precision == chosen
    assert bundle.manifest.gate is not None
    flips = {check.name: check.value for check in bundle.manifest.gate.checks}["verdict flips"]
    assert chosen == "int8" or flips == 0


@pytest.mark.parametrize(("ratio", "form"), [(1.3, "static"), (0.9, "dynamic")])
def test_the_faster_form_that_passes_is_taken(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ratio: float,
    form: str,
) -> None:
    monkeypatch.setattr(fallback, "vision_ratio", lambda *_: ratio)
    recipe = replace(INT8, int8_form=None)
    bundle = export_bundle(
        checkpoint, tmp_path / "out", recipe, pairs=(), calibration=CALIBRATION, gate=PLAN
    )
    manifest = bundle.manifest
    assert manifest.graphs["vision"].form == manifest.graphs["comparison"].form == form
    log = log_of(bundle.file(LOG_FILE))
    assert log["static against dynamic"]["ratio"] == ratio
    assert [key for key in log if key.endswith("trial 0")] == [f"{form} trial 0"]
    assert ("ranges.json" in manifest.files) == (form == "static")


def test_the_slower_form_is_taken_where_the_faster_one_fails(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fallback, "vision_ratio", lambda *_: 1.3)
    gate = fallback.Candidate.gate

    def fails_static(candidate: fallback.Candidate, recipe: ExportRecipe) -> Gate:
        found = gate(candidate, recipe)
        if recipe.vision_form != "static":
            return found
        (first, *others) = found.checks
        failed = first.model_copy(update={"value": 1.0})
        return found.model_copy(update={"checks": (failed, *others)})

    monkeypatch.setattr(fallback.Candidate, "gate", fails_static)
    recipe = replace(INT8, int8_form=None)
    bundle = export_bundle(
        checkpoint, tmp_path / "out", recipe, pairs=(), calibration=CALIBRATION, gate=PLAN
    )
    assert bundle.manifest.graphs["vision"].form == "dynamic"


def test_a_form_that_was_asked_for_is_the_only_one(checkpoint: Path, tmp_path: Path) -> None:
    either = replace(INT8, int8_form=None)
    assert [recipe.vision_form for recipe in either.forms(has_pairs=True)] == ["dynamic", "static"]
    assert either.forms(has_pairs=False) == (either,)
    assert INT8.forms(has_pairs=True) == (INT8,)
    kept = replace(INT8, int8_form=None, kept=("visual.blocks.0.mlp",))
    assert kept.forms(has_pairs=True) == (kept,)


def test_both_forms_refused_are_both_named(hard: Path, tmp_path: Path) -> None:
    recipe = replace(INT8, int8_form=None)
    with pytest.raises(GateError, match=r"form '\w+': .*form '\w+': .*--fall-back") as err:
        export_bundle(hard, tmp_path / "out", recipe, pairs=(), calibration=CALIBRATION, gate=PLAN)
    assert "'dynamic'" in str(err.value)
    assert "'static'" in str(err.value)


def test_pairs_that_were_learned_from_judge_nothing(checkpoint: Path, tmp_path: Path) -> None:
    seen = CalibrationPairs("some of them", pairs(210, 2))
    plan = replace(PLAN, can_fall_back=True)
    with pytest.raises(DatasetError, match="2 of the 24 held-out pairs were used to calibrate"):
        export_bundle(checkpoint, tmp_path / "out", INT8, pairs=(), calibration=seen, gate=plan)
    assert not list(tmp_path.iterdir())


def test_the_float_bundle_may_be_one_s_own(checkpoint: Path, tmp_path: Path) -> None:
    floats = export_bundle(checkpoint, tmp_path / "float", INT8.all_float(), pairs=())
    plan = replace(PLAN, reference=floats.path)
    bundle = export_bundle(checkpoint, tmp_path / "out", INT8, pairs=(), gate=plan)
    assert bundle.manifest.gate is not None
    assert bundle.manifest.gate.reference_bundle == floats.id


def test_a_float_bundle_that_does_not_fit(checkpoint: Path, hard: Path, tmp_path: Path) -> None:
    def refuse(reference: Path, message: str) -> None:
        plan = replace(PLAN, reference=reference)
        with pytest.raises(ConfigError, match=message):
            export_bundle(checkpoint, tmp_path / "out", INT8, pairs=(), gate=plan)

    floats = INT8.all_float()
    export_bundle(hard, tmp_path / "other", floats, pairs=())
    refuse(tmp_path / "other", "made of another checkpoint")
    small = replace(floats, image_height=56)
    export_bundle(checkpoint, tmp_path / "small", small, pairs=())
    refuse(tmp_path / "small", "56x112, this bundle is to be for 112x112")
    export_bundle(checkpoint, tmp_path / "int8", INT8, pairs=())
    refuse(tmp_path / "int8", "is in INT8 itself")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("recipe", "calibration", "message"),
    [
        (INT8.in_float(), CALIBRATION, "only a vision side in int8 can fall back"),
        (INT8, None, "name them with --calib"),
        (replace(INT8, kept=("visual.merger.mlp",)), CALIBRATION, "either named or searched for"),
    ],
)
def test_a_fall_back_that_can_t_be(
    checkpoint: Path,
    tmp_path: Path,
    recipe: ExportRecipe,
    calibration: CalibrationPairs | None,
    message: str,
) -> None:
    with pytest.raises(ConfigError, match=message):
        export_bundle(
            checkpoint,
            tmp_path / "out",
            recipe,
            pairs=(),
            calibration=calibration,
            gate=replace(PLAN, can_fall_back=True),
        )
