"""The methods of choosing levels, against onnxruntime's own quantizer on the same weights."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layers import BATCH, OUTPUTS, draw_rows, exact, float_model, ours, run, write_layer
from onnxruntime.quantization import QuantFormat
from onnxruntime.quantization.matmul_nbits_quantizer import (
    HQQWeightOnlyQuantConfig,
    KQuantWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
)

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.linear import BlockForm
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.rounding import Bits, HalfQuadratic, KQuant, Rounding, RoundToNearest
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.types import FloatArray

pytestmark = pytest.mark.torch

# Six blocks in a row: with an odd number, the zero points of onnxruntime's own k-quant run over the
# ends of rows, where its kernel does not look for them.
INPUTS, BLOCK = 96, 16


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Linear:
    return write_layer(tmp_path_factory.mktemp("layer"), inputs=INPUTS)


@pytest.fixture(scope="module")
def rows() -> FloatArray:
    return draw_rows(inputs=INPUTS)


def theirs(path: Path, layer: Linear, settings: Any) -> Path:
    """The float layer through onnxruntime's quantizer."""
    quantizer = MatMulNBitsQuantizer(
        float_model(layer),
        bits=4,
        block_size=BLOCK,
        algo_config=settings,
    )
    quantizer.process()
    quantizer.model.save_model_to_file(str(path))
    return path


def test_k_quant_is_what_onnxruntime_makes(tmp_path: Path, layer: Linear, rows: FloatArray) -> None:
    settings = KQuantWeightOnlyQuantConfig(
        customized_weight_config={"matmul": {"bits": 4, "group_size": BLOCK}}
    )
    expected = run(theirs(tmp_path / "theirs.onnx", layer, settings), rows)
    form = BlockForm(bits=4, block_size=BLOCK, rounding=KQuant())
    product = ours(tmp_path / "ours.onnx", form, layer, rows)
    np.testing.assert_allclose(product, expected, atol=1e-5, rtol=0)


# It wraps a weight of the model's file, which is read-only, and does not write to it.
@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_hqq_is_what_onnxruntime_makes(tmp_path: Path, layer: Linear, rows: FloatArray) -> None:
    settings = HQQWeightOnlyQuantConfig(
        block_size=BLOCK, bits=4, quant_format=QuantFormat.QOperator
    )
    expected = run(theirs(tmp_path / "theirs.onnx", layer, settings), rows)
    form = BlockForm(bits=4, block_size=BLOCK, rounding=HalfQuadratic())
    product = ours(tmp_path / "ours.onnx", form, layer, rows)
    np.testing.assert_allclose(product, expected, atol=1e-5, rtol=0)


def test_a_solver_gives_better_weights_than_rounding(tmp_path: Path, layer: Linear) -> None:
    everything = np.eye(INPUTS, dtype=np.float32)

    def error(method: Rounding) -> float:
        form = BlockForm(bits=4, block_size=BLOCK, rounding=method)
        product = ours(tmp_path / "layer.onnx", form, layer, everything)
        return float(np.abs(product - exact(layer, everything)).mean())

    assert error(HalfQuadratic()) < 0.99 * error(RoundToNearest())


@pytest.mark.parametrize(
    ("rounding", "bits"),
    [
        (RoundToNearest(), 4),
        (RoundToNearest(), 8),
        (KQuant(), 4),
        (KQuant(), 8),
        (HalfQuadratic(), 4),
    ],
)
def test_sizes_are_known_beforehand(
    tmp_path: Path, layer: Linear, rows: FloatArray, rounding: Rounding, bits: Bits
) -> None:
    form = BlockForm(bits=bits, block_size=64, rounding=rounding)  # a block and a half
    product = ours(tmp_path / "layer.onnx", form, layer, rows)
    assert product.shape == (BATCH, sum(OUTPUTS))
    error = np.abs(product - exact(layer, rows)).max() / np.abs(product).max()
    assert error < (0.3 if bits == 4 else 0.03)
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    bias_and_nodes = 4 * sum(OUTPUTS) + 2_500
    assert 0 <= written - form.weight_bytes(sum(OUTPUTS), INPUTS) < bias_and_nodes


def test_equal_weights_are_no_trouble(layer: Linear) -> None:
    same = np.full((3, 64), 0.25, np.float32)
    for rounding in (RoundToNearest(), KQuant(), HalfQuadratic()):
        blocks = rounding.quantize(same, layer, 4, 32)
        assert np.isfinite(blocks.scales).all()
        assert blocks.levels.shape == (3, 2, 16)


def test_the_root_logger_stays_as_it_was(layer: Linear) -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    HalfQuadratic().quantize(np.ones((1, 32), np.float32), layer, 4, 32)
    assert (root.level, list(root.handlers)) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantizer": "awq", "llm": "int4"}, "must be one of rtn, k-quant, hqq, gptq"),
        ({"quantizer": "gptq"}, "makes int4 or int8, and the language model is to be fp32"),
        ({"quantizer": "hqq", "llm": "int8"}, "'hqq' makes int4, and"),
    ],
)
def test_a_recipe_refuses_what_does_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ExportRecipe(image_height=112, image_width=112, **changes)
