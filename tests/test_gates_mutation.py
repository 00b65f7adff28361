"""A gate that can fail: real bundles with one slip of a quantizer each, over the same pairs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from adcopilot_edge.calibration.evaluate import Predictions
from adcopilot_edge.calibration.gate_run import ask, run_gate
from adcopilot_edge.calibration.gates import GateLimits
from adcopilot_edge.calibration.held_out import HeldOut
from adcopilot_edge.embedded import embedded_bundle
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.tensors import AnyArray
from adcopilot_edge.training.synthetic import generate_pair

NANO = embedded_bundle()
LIMITS = GateLimits(min_pairs=60, max_balanced_accuracy_drop=0.01, min_answer_agreement=0.8)
NUM_ANSWERS = 8


@pytest.fixture(scope="module")
def pairs() -> HeldOut:
    made = [generate_pair((1 << 41) + seed, size=224).to_labelled() for seed in range(60)]
    return HeldOut.of("generated boards", made)


def bundle(folder: Path) -> Inspector:
    return Inspector.open(folder, verify=False, calibrated=False)


@pytest.fixture(scope="module")
def sound(pairs: HeldOut) -> Predictions:
    return ask(bundle(NANO), pairs, "reference", num_answers=NUM_ANSWERS)


def change(folder: Path, suffix: str, alter: Callable[[AnyArray], AnyArray], graph: str) -> None:
    """Alter every weight of a graph whose name ends with ``suffix``, in its data file."""
    model = onnx.load(folder / graph, load_external_data=False)
    changed = 0
    for item in model.graph.initializer:
        if not item.name.endswith(suffix) or not item.external_data:
            continue
        place = {entry.key: entry.value for entry in item.external_data}
        dtype = onnx.helper.tensor_dtype_to_np_dtype(item.data_type)
        with (folder / place["location"]).open("r+b") as file:
            file.seek(int(place["offset"]))
            values = np.frombuffer(file.read(int(place["length"])), dtype).reshape(item.dims)
            file.seek(int(place["offset"]))
            file.write(np.ascontiguousarray(alter(values).astype(dtype)).tobytes())
        changed += 1
    assert changed


@pytest.mark.parametrize(
    ("graph", "suffix", "alter", "figures"),
    [
        pytest.param(
            *("vision.onnx", "qkv.weight_scale", lambda scale: 1.5 * scale),
            {"verdict flips", "mIoU drop, map"},
            id="wrong scale",
        ),
        pytest.param(
            *("vision.onnx", "down_proj.weight", lambda rows: np.roll(rows, 1, axis=1)),
            {"mIoU drop, map"},
            id="swapped",
        ),
        pytest.param(
            *("vision.onnx", "proj.weight", lambda rows: np.clip(rows, -12, 12)),
            {"overkill rise", "balanced accuracy drop"},
            id="clipped range",
        ),
        pytest.param(
            *("decoder.onnx", "down_proj.scales", lambda scale: 1.5 * scale),
            {"answer agreement"},
            id="wrong scale of the words",
        ),
    ],
)
def test_a_slip_is_refused(
    tmp_path: Path,
    pairs: HeldOut,
    sound: Predictions,
    graph: str,
    suffix: str,
    alter: Callable[[AnyArray], AnyArray],
    figures: set[str],
) -> None:
    folder = Path(shutil.copytree(NANO, tmp_path / "damaged"))
    change(folder, suffix, alter, graph)
    report = run_gate(bundle(folder), sound, pairs, LIMITS, num_answers=NUM_ANSWERS)
    assert figures <= {check.name for check in report.failures}


def test_the_same_bundle_is_admitted(pairs: HeldOut, sound: Predictions, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(NANO, tmp_path / "copy"))
    strict = GateLimits(min_pairs=60, min_answer_agreement=1, max_balanced_accuracy_drop=0)
    assert not run_gate(bundle(folder), sound, pairs, strict, num_answers=NUM_ANSWERS).failures
