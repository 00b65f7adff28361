"""The forms of a linear layer against onnxruntime's own quantizers on the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from layers import INPUTS, OUTPUTS, draw_rows, exact, float_model, ours, run, write_layer
from onnxruntime.quantization import QuantFormat, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import (
    DefaultWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
)

from adcopilot_edge.export import weights
from adcopilot_edge.export.linear import (
    WEIGHT_LIMIT,
    BlockForm,
    DynamicInt8Form,
    FloatForm,
    LinearForm,
)
from adcopilot_edge.export.rows import RowInt8Form
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.types import FloatArray

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Linear:
    return write_layer(tmp_path_factory.mktemp("layer"))


@pytest.fixture(scope="module")
def rows() -> FloatArray:
    return draw_rows()


def test_a_layer_without_a_bias_adds_nothing(layer: Linear) -> None:
    bias = layer.bias()
    assert bias is not None
    assert bias.shape == (sum(OUTPUTS),)
    assert not bias[: OUTPUTS[0]].any()
    assert bias[OUTPUTS[0] :].all()


def test_float(tmp_path: Path, layer: Linear, rows: FloatArray) -> None:
    product = ours(tmp_path / "layer.onnx", FloatForm(), layer, rows)
    np.testing.assert_allclose(product, exact(layer, rows), atol=5e-5, rtol=0)


def test_int8_is_what_quantize_dynamic_makes(
    tmp_path: Path, layer: Linear, rows: FloatArray
) -> None:
    theirs = tmp_path / "theirs.onnx"
    quantize_dynamic(
        float_model(layer),
        theirs,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        reduce_range=True,
    )
    product = ours(tmp_path / "ours.onnx", DynamicInt8Form(), layer, rows)
    # The integers are the same; scales are multiplied in another order.
    np.testing.assert_allclose(product, run(theirs, rows), atol=1e-5, rtol=0)
    error = np.abs(product - exact(layer, rows)).max() / np.abs(product).max()
    assert 1e-4 < error < 0.1


def test_rows_have_ranges_of_their_own(tmp_path: Path, layer: Linear, rows: FloatArray) -> None:
    """A token that stands out takes no level from the others, as it does with one range for all."""
    rows = rows.copy()
    rows[2] *= 1000
    rows[4] = 0
    others = [0, 1, 3, 5, 6]

    def error(form: LinearForm, name: str) -> float:
        product = ours(tmp_path / name, form, layer, rows)
        bias = layer.bias()
        assert bias is not None
        np.testing.assert_allclose(product[4], bias, atol=1e-6)
        expected = exact(layer, rows)
        return float(np.abs(product - expected)[others].max() / np.abs(expected[others]).max())

    assert error(RowInt8Form(), "rows.onnx") < 0.06
    assert error(DynamicInt8Form(), "dynamic.onnx") > 0.3


def test_a_row_is_rounded_as_if_it_were_alone(
    tmp_path: Path, layer: Linear, rows: FloatArray
) -> None:
    """Apart from the zero point, which one range of all rows gives."""
    together = ours(tmp_path / "together.onnx", RowInt8Form(), layer, rows)
    for index, row in enumerate(rows):
        alone = ours(tmp_path / f"{index}.onnx", RowInt8Form(), layer, row[None])[0]
        np.testing.assert_allclose(together[index], alone, atol=0.03 * np.abs(alone).max())


def test_int8_cannot_overflow_the_pair_sums_of_x86_without_vnni() -> None:
    assert np.iinfo(np.int16).max >= 2 * 255 * WEIGHT_LIMIT


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("block_size", [16, 32])
def test_blocks_are_what_the_quantizer_of_onnxruntime_makes(
    tmp_path: Path, layer: Linear, rows: FloatArray, bits: Literal[4, 8], block_size: int
) -> None:
    settings = DefaultWeightOnlyQuantConfig(
        block_size=block_size,
        is_symmetric=False,
        bits=bits,
        quant_format=QuantFormat.QOperator,
    )
    quantizer = MatMulNBitsQuantizer(float_model(layer), algo_config=settings)
    quantizer.process()
    theirs = tmp_path / "theirs.onnx"
    quantizer.model.save_model_to_file(str(theirs))
    form = BlockForm(bits=bits, block_size=block_size)
    product = ours(tmp_path / "ours.onnx", form, layer, rows)
    np.testing.assert_allclose(product, run(theirs, rows), atol=1e-5, rtol=0)
    error = np.abs(product - exact(layer, rows)).max() / np.abs(product).max()
    assert error < (0.2 if bits == 4 else 0.02)


@pytest.mark.parametrize("form", [FloatForm(), BlockForm(bits=4, block_size=32)])
def test_a_matrix_read_in_pieces_gives_the_same_file(
    tmp_path: Path,
    layer: Linear,
    rows: FloatArray,
    form: LinearForm,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = ours(tmp_path / "whole.onnx", form, layer, rows)
    monkeypatch.setattr(weights, "CHUNK_VALUES", 5 * INPUTS)
    assert [len(chunk) for chunk in layer.chunks()] == [5, 5, 5, 5, 4, *[5] * 8]
    pieces = ours(tmp_path / "pieces.onnx", form, layer, rows)
    np.testing.assert_array_equal(pieces, whole)
    names = [tmp_path / f"{name}.onnx.data" for name in ("whole", "pieces")]
    assert names[0].read_bytes() == names[1].read_bytes()


@pytest.mark.parametrize(
    "form", [FloatForm(), DynamicInt8Form(), RowInt8Form(), BlockForm(bits=4, block_size=32)]
)
def test_the_size_is_known_beforehand(
    tmp_path: Path, layer: Linear, rows: FloatArray, form: LinearForm
) -> None:
    ours(tmp_path / "layer.onnx", form, layer, rows)
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    bias_and_nodes = 4 * sum(OUTPUTS) + 2_500
    assert 0 <= written - form.weight_bytes(sum(OUTPUTS), INPUTS) < bias_and_nodes
