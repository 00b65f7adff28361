"""GPTQ: better outputs than rounding on the inputs it has seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from layers import INPUTS, exact, ours, write_layer
from numpy.typing import NDArray
from onnxruntime.quantization.neural_compressor.weight_only import gptq

from adcopilot_edge.export.gptq import Gptq
from adcopilot_edge.export.linear import BlockForm
from adcopilot_edge.export.rounding import Bits, Rounding, RoundToNearest
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.types import FloatArray

pytestmark = pytest.mark.torch

BLOCK = 16


class KnownInputs:
    """The sums over inputs that a test knows."""

    def __init__(self, rows: FloatArray) -> None:
        self._rows = rows.astype(np.float64)

    def gram(self, module: str) -> NDArray[np.float64]:
        assert module == "a"
        return self._rows.T @ self._rows


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Linear:
    return write_layer(tmp_path_factory.mktemp("layer"))


@pytest.fixture(scope="module")
def inputs() -> FloatArray:
    """Inputs that mostly lie in a few directions, as a language model's do."""
    rng = np.random.default_rng(7)
    common = rng.standard_normal((512, 6)) @ rng.standard_normal((6, INPUTS))
    return (common + 0.3 * rng.standard_normal((512, INPUTS))).astype(np.float32)


def error(path: Path, method: Rounding, layer: Linear, rows: FloatArray, bits: Bits) -> float:
    """The mean squared error of the layer's outputs."""
    form = BlockForm(bits=bits, block_size=BLOCK, rounding=method)
    return float(np.square(ours(path, form, layer, rows) - exact(layer, rows)).mean())


@pytest.mark.parametrize("bits", [4, 8])
def test_outputs_are_better_than_of_rounding(
    tmp_path: Path, layer: Linear, inputs: FloatArray, bits: Bits
) -> None:
    path = tmp_path / "layer.onnx"
    seen, unseen = inputs[:256], inputs[256:]
    assert error(path, Gptq(KnownInputs(seen)), layer, unseen, bits) < 0.5 * error(
        path, RoundToNearest(), layer, unseen, bits
    )


def test_inputs_that_know_nothing_of_each_other_leave_plain_rounding(layer: Linear) -> None:
    method = Gptq(KnownInputs(np.eye(INPUTS, dtype=np.float32)))
    found = method.quantize(layer.matrix(), layer, 4, BLOCK)
    plain = RoundToNearest().quantize(layer.matrix(), layer, 4, BLOCK)
    # Halves are rounded to even here, away from zero there, and sums differ in the last digit.
    same = np.mean(found.levels == plain.levels)
    assert same > 0.98
    np.testing.assert_allclose(found.scales, np.abs(plain.scales), rtol=1e-6)


def test_an_input_that_is_always_zero_does_no_harm(
    tmp_path: Path, layer: Linear, inputs: FloatArray
) -> None:
    silent = inputs.copy()
    silent[:, 3:20] = 0
    path = tmp_path / "layer.onnx"
    method = Gptq(KnownInputs(silent))
    assert error(path, method, layer, silent, 4) < 0.5 * error(
        path, RoundToNearest(), layer, silent, 4
    )


def test_onnxruntimes_own_passes_nothing_on(layer: Linear, inputs: FloatArray) -> None:
    # When this fails, its function has come to work, and gptq.py may be replaced by it.
    gram = KnownInputs(inputs).gram("a")
    with_inputs = gptq(layer.matrix().T.copy(), gram, group_size=BLOCK)
    without = gptq(layer.matrix().T.copy(), np.eye(INPUTS), group_size=BLOCK)
    np.testing.assert_allclose(with_inputs, without, atol=1e-5)
