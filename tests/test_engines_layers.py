"""What a network computes in, told from its layers: each finding from a network made for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import faketrt
import pytest
from faketrt import DataType, LayerType

from adcopilot_edge.errors import BuildError
from adcopilot_edge.manifest import ExactModule, Graph
from adcopilot_edge.runtime.engines.api import Api
from adcopilot_edge.runtime.engines.layers import Product, check_products, find_products

API = Api("tensorrt", faketrt.fake_module("10.3"))
FLOAT, HALF, INT8 = DataType.FLOAT, DataType.HALF, "int8"


class Network:
    """A network as the parser makes it; a tensor is called as the layer that makes it."""

    def __init__(self) -> None:
        self._layers: list[Any] = []

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    def get_layer(self, index: int) -> Any:
        return self._layers[index]

    def add(self, kind: LayerType, name: str, dtype: Any, *inputs: str) -> str:
        output = SimpleNamespace(name=name, dtype=dtype)
        self._layers.append(
            SimpleNamespace(
                type=kind,
                name=name,
                num_outputs=1,
                get_output=lambda _: output,
                get_input=lambda index: SimpleNamespace(name=inputs[index]),
            )
        )
        return name

    def linear(
        self, name: str, dtype: Any = HALF, weight: Any = None, *, converted: bool = False
    ) -> str:
        """A product with a constant of type ``weight``, which a cast may follow."""
        matrix = self.add(LayerType.CONSTANT, f"{name}.weight", dtype if weight is None else weight)
        if converted:
            matrix = self.add(LayerType.CAST, f"{name}.cast", dtype, matrix)
            matrix = self.add(LayerType.SHUFFLE, f"{name}.turned", dtype, matrix)
        return self.add(LayerType.MATRIX_MULTIPLY, name, dtype, "input", matrix)

    def quantized(self, name: str, *, weight: Any = INT8, has_input: bool = True) -> str:
        value = "input"
        if has_input:
            value = self.add(LayerType.QUANTIZE, f"{name}.levels", INT8, value)
            value = self.add(LayerType.DEQUANTIZE, f"{name}.values", HALF, value)
        matrix = self.add(LayerType.CONSTANT, f"{name}.weight_levels", weight)
        if weight != INT8:
            matrix = self.add(LayerType.QUANTIZE, f"{name}.rounded", INT8, matrix)
        matrix = self.add(LayerType.DEQUANTIZE, f"{name}.weight", HALF, matrix)
        return self.add(LayerType.MATRIX_MULTIPLY, name, HALF, value, matrix)


@pytest.fixture
def network() -> Network:
    return Network()


def graph(precision: Any = "fp16", *exact: str) -> Graph:
    return Graph(
        file="vision.onnx",
        precision=precision,
        exact=tuple(ExactModule(name=name, reason="large") for name in exact),
    )


def test_products_are_counted_by_type(network: Network) -> None:
    network.linear("a")
    network.quantized("b")
    network.quantized("c")
    network.linear("visual.compare_visual_encoder.anomaly_map", FLOAT)
    network.add(LayerType.MATRIX_MULTIPLY, "scores", HALF, "queries", "keys")
    assert check_products(API, network, graph("int8")) == {"fp16": 2, "fp32": 1, "int8": 2}
    assert [product.name for product in find_products(API, network)] == [
        "a",
        "b",
        "c",
        "visual.compare_visual_encoder.anomaly_map",
        "scores",
    ]


def test_what_the_manifest_lists_may_be_float32(network: Network) -> None:
    for name in ("layer", "attn.window0.scores", "attn.window12.scores", "other.scores", "down_7"):
        network.linear(name, FLOAT)
    manifest = graph("fp16", "layer", "attn", "other", "down")
    assert check_products(API, network, manifest) == {"fp32": 5}


@pytest.mark.parametrize("name", ["anomaly_map", "type_map", "told.parts.bands", "told.update"])
def test_what_has_few_outputs_is_float32_in_every_precision(network: Network, name: str) -> None:
    network.linear(f"visual.compare_visual_encoder.{name}", FLOAT)
    assert check_products(API, network, graph("fp16")) == {"fp32": 1}


@pytest.mark.parametrize(
    "name", ["attn.qkv", "attn.window0.mixed_by_head", "attn2", "attn_x", "anomaly_map"]
)
def test_what_only_begins_alike_may_not(network: Network, name: str) -> None:
    network.linear(name, FLOAT)
    with pytest.raises(BuildError, match=f"{name} is float32, which the manifest does not say"):
        check_products(API, network, graph("fp16", "attn"))


@pytest.mark.parametrize("converted", [False, True])
def test_a_float32_copy_of_a_float16_linear(network: Network, converted: bool) -> None:
    network.linear("good")
    network.linear("bad", HALF, FLOAT, converted=converted)
    with pytest.raises(BuildError, match=r"manifest says: bad keeps its weights in float32\. Exp"):
        check_products(API, network, graph())


def test_a_float32_copy_of_an_int8_linear(network: Network) -> None:
    network.quantized("bad", weight=FLOAT)
    assert [*find_products(API, network)] == [Product("bad", "int8", holds_copy=True)]
    with pytest.raises(BuildError, match="bad keeps its weights in float32"):
        check_products(API, network, graph("int8"))


def test_a_product_that_is_int8_on_one_side(network: Network) -> None:
    network.quantized("bad", has_input=False)
    with pytest.raises(BuildError, match="bad is INT8 on one side only"):
        check_products(API, network, graph("int8"))


def test_all_findings_come_at_once(network: Network) -> None:
    network.linear("one", FLOAT)
    network.linear("two", HALF, FLOAT)
    with pytest.raises(BuildError) as caught:
        check_products(API, network, graph("int8"))
    assert (
        "says: one is float32, which the manifest does not say; two keeps its weights in float32; "
        "it is INT8 by its manifest, but none of its products is. Export" in str(caught.value)
    )
