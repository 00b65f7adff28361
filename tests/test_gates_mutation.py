"""A gate that can fail: real bundles with one slip of a quantizer each, over the same pairs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import adcopilot_edge
from adcopilot_edge.calibration.evaluate import Predictions, predict
from adcopilot_edge.calibration.gates import GateLimits, judge
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.tensors import AnyArray
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.types import LabelledPair

NANO = Path(adcopilot_edge.__file__).parent / "assets" / "nano"
LIMITS = GateLimits(min_pairs=60)


@pytest.fixture(scope="module")
def pairs() -> list[LabelledPair]:
    return [generate_pair((1 << 41) + seed, size=224).to_labelled() for seed in range(60)]


def ask(folder: Path, pairs: list[LabelledPair]) -> Predictions:
    inspector = Inspector.open(folder, verify=False)
    return predict(folder.name, inspector, pairs, with_text=False)


@pytest.fixture(scope="module")
def sound(pairs: list[LabelledPair]) -> Predictions:
    return ask(NANO, pairs)


def change(folder: Path, suffix: str, alter: Callable[[AnyArray], AnyArray]) -> None:
    """Alter every weight of the vision graph whose name ends with ``suffix``, in its data file."""
    model = onnx.load(folder / "vision.onnx", load_external_data=False)
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
    ("suffix", "alter"),
    [
        pytest.param("qkv.weight_scale", lambda scale: 1.5 * scale, id="wrong scale"),
        pytest.param("down_proj.weight", lambda rows: np.roll(rows, 1, axis=1), id="swapped"),
        pytest.param("proj.weight", lambda rows: np.clip(rows, -12, 12), id="clipped range"),
    ],
)
def test_a_slip_is_refused(
    tmp_path: Path,
    pairs: list[LabelledPair],
    sound: Predictions,
    suffix: str,
    alter: Callable[[AnyArray], AnyArray],
) -> None:
    folder = Path(shutil.copytree(NANO, tmp_path / "damaged"))
    change(folder, suffix, alter)
    report = judge(pairs, ask(folder, pairs), sound, LIMITS)
    assert report.failures


def test_the_same_bundle_is_admitted(
    pairs: list[LabelledPair], sound: Predictions, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(NANO, tmp_path / "copy"))
    assert not judge(pairs, ask(folder, pairs), sound, LIMITS).failures
