"""Checking a bundle where it runs: hashes, then the stored pairs, stage by stage."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from adcopilot_edge.bundle import list_files, open_bundle, write_manifest
from adcopilot_edge.errors import ChecksumError, ManifestError
from adcopilot_edge.manifest import Parity, StageParity
from adcopilot_edge.runtime.golden_pack import read_pack
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.ladder import Tolerance, compare, run_ladder, worst
from adcopilot_edge.runtime.verify import verify_bundle

INPUTS = "parity.safetensors"
STAGES = (
    *("resize", "patches", "features", "tokens", "comparison_tokens"),
    *("anomaly_logits", "logits", "greedy_ids", "verdict"),
)
CACHED = ("cached_anomaly_logits", "cached_logits", "cached_greedy_ids", "cached_verdict")


def store(folder, tensors):
    """Write the tensors as the bundle's parity inputs, with a manifest that lists them."""
    save_file(
        {name: np.ascontiguousarray(array) for name, array in tensors.items()}, folder / INPUTS
    )
    stages = tuple(
        StageParity(
            stage=stage,
            metric="mismatches" if stage in {"greedy_ids", "verdict"} else "max_abs",
            error=0,
            tolerance=0 if stage in {"greedy_ids", "verdict"} else 1e-5,
        )
        for stage in STAGES
    )
    changes = {
        "parity": Parity(num_pairs=2, inputs=INPUTS, stages=stages),
        "files": list_files(folder),
    }
    manifest = open_bundle(folder, verify=False).manifest
    write_manifest(folder, manifest.model_copy(update=changes))


@pytest.fixture
def proved(damaged_bundle, image_pair):
    """A toy bundle with two stored pairs, a bad and a good one."""
    golden, test = image_pair
    inspector = Inspector.open(damaged_bundle, num_threads=1)
    tensors = {}
    for index, picture in enumerate((test, golden)):
        outputs = run_ladder(inspector, golden, picture, max_new_tokens=6)
        for name, array in {"golden": golden, "test": picture, **outputs}.items():
            tensors[f"pair{index}/{name}"] = array
    store(damaged_bundle, tensors)
    return damaged_bundle


def change_tensor(folder, name, change):
    tensors = load_file(folder / INPUTS)
    tensors[name] = change(tensors[name])
    store(folder, tensors)


def test_a_sound_bundle_passes(proved):
    report = verify_bundle(proved, num_threads=1)
    assert report.first_failure is None
    assert (report.num_files, report.num_pairs) == (6, 2)
    assert [stage.stage for stage in report.stages] == [*STAGES, *CACHED]
    assert max(stage.error for stage in report.stages) == 0
    assert report.to_json()["passed"]


def test_a_pack_that_says_something_else_fails_its_rungs(proved, monkeypatch):
    """The rungs are compared with a golden read anew, so a wrong pack can't hide."""
    read = "adcopilot_edge.runtime.cached_rungs.read_pack"

    def read_wrongly(path, **options):
        record, reference = read_pack(path, **options)
        return record, replace(reference, features=reference.features + 1)

    monkeypatch.setattr(read, read_wrongly)
    report = verify_bundle(proved, num_threads=1)
    failed = [stage.stage for stage in report.stages if not stage.passed]
    assert failed
    assert set(failed) <= set(CACHED)
    assert report.first_failure is not None


def test_a_bundle_without_pairs_is_hashed(toy_bundle):
    report = verify_bundle(toy_bundle.path, num_threads=1)
    assert (report.num_files, report.num_pairs, report.stages) == (5, 0, ())
    assert report.first_failure is None


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("pair0/resize", lambda array: array ^ 1),
        ("pair0/patches", lambda array: array + 1e-3),
        ("pair1/features", lambda array: array * np.nan),
        ("pair0/comparison_tokens", lambda array: array[:-1]),
        ("pair0/anomaly_logits", lambda array: array + 1),
        ("pair1/logits", lambda array: array - 1),
        ("pair0/greedy_ids", lambda array: np.append(array[:-1], array[-1] + 1)),
        ("pair1/verdict", lambda array: 1 - array),
    ],
)
def test_the_first_stage_that_differs_is_named(proved, name, change):
    change_tensor(proved, name, change)
    report = verify_bundle(proved, num_threads=1)
    failure = report.first_failure
    assert failure is not None
    assert failure.stage == name.partition("/")[2]
    assert [stage.stage for stage in report.stages if not stage.passed] == [failure.stage]
    record = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert (record["passed"], record["first_failure"]) == (False, failure.stage)


def test_damage_is_found_before_anything_runs(proved):
    (proved / "vision.onnx").write_bytes(b"")
    with pytest.raises(ChecksumError, match=r"vision\.onnx \(0 bytes, expected"):
        verify_bundle(proved, num_threads=1)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"other": np.zeros(1)}, "lacks all pairs"),
        ({"pair0/golden": np.zeros(1)}, "lacks pair0/test, pair0/greedy_ids, pair0/resize"),
    ],
)
def test_pairs_that_are_not_whole(proved, tensors, message):
    store(proved, tensors)
    with pytest.raises(ManifestError, match=message):
        verify_bundle(proved, num_threads=1)


def test_inputs_that_are_no_safetensors(proved):
    (proved / INPUTS).write_bytes(b"nothing")
    manifest = open_bundle(proved, verify=False).manifest
    write_manifest(proved, manifest.model_copy(update={"files": list_files(proved)}))
    with pytest.raises(ManifestError, match="holds no parity inputs"):
        verify_bundle(proved, num_threads=1)


def test_errors_by_metric():
    reference = {
        "patches": np.array([1.0, -4.0], np.float32),
        "tokens": np.array([1.0, -4.0], np.float32),
        "greedy_ids": np.array([1, 2, 3]),
        "verdict": np.array(1),
    }
    actual = {
        "patches": np.array([1.0, -3.0], np.float32),
        "tokens": np.array([1.0, -3.0], np.float32),
        "greedy_ids": np.array([1, 5, 3, 4]),
    }
    tolerances = {
        "patches": Tolerance("max_abs", 1),
        "tokens": Tolerance("max_rel", 0.2),
        "greedy_ids": Tolerance("mismatches", 2),
        "verdict": Tolerance("mismatches", 0),
    }
    records = compare(reference, actual, tolerances)
    assert [(it.stage, it.error, it.passed) for it in records] == [
        ("patches", 1.0, True),
        ("tokens", 0.25, False),
        ("greedy_ids", 2.0, True),
        ("verdict", math.inf, False),
    ]


def test_the_worst_of_all_pairs_counts_and_nan_is_worst():
    def record(error):
        return StageParity(stage="logits", metric="max_abs", error=error, tolerance=1)

    assert worst([(record(0.1),), (record(0.5),), (record(0.2),)]) == (record(0.5),)
    (found,) = worst([(record(0.1),), (record(math.nan),), (record(math.inf),)])
    assert math.isnan(found.error)
    assert not found.passed
