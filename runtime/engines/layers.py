"""What a parsed network really computes in: every matrix product by type, none by surprise.

A strongly typed network keeps the types of its graph, so what is counted here is what runs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from adcopilot_edge.errors import BuildError
from adcopilot_edge.manifest import Graph
from adcopilot_edge.runtime.engines.api import Api

# Stay float32 in every precision: few outputs a patch, few numbers a token.
_ALWAYS_EXACT = r".+\.((anomaly|type)_map|told\.[a-z_.]+)"


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product of a network.

    kind: what it computes in; ``mixed`` where one side alone comes out of INT8 levels.
    holds_copy: whether its weights are there in float32, to be rounded as they are used.
    """

    name: str
    kind: Literal["int8", "fp16", "fp32", "mixed"]
    holds_copy: bool


def check_products(api: Api, network: Any, graph: Graph) -> dict[str, int]:
    """Count the matrix products of ``network`` by type, ``int8``, ``fp16`` and ``fp32``.

    Raises:
        BuildError: With all findings: a product in float32 that the manifest does not list as such,
            one that holds its weights in float32, one that is INT8 on one side only, or a graph of
            INT8 that has no product in INT8.
    """
    products = list(find_products(api, network))
    counts = Counter(product.kind for product in products)
    # A layer's product is called as the layer, an attention's exact one ends in "scores"; a parser
    # may put a number behind a name that it has already.
    names = [re.escape(module.name) for module in graph.exact]
    exact = re.compile(rf"({'|'.join([*names, _ALWAYS_EXACT])})(\.window\d+)?(\.scores)?(_\d+)?")
    findings = []
    for product in products:
        if product.kind == "mixed":
            findings.append(f"{product.name} is INT8 on one side only")
        if product.kind == "fp32" and not exact.fullmatch(product.name):
            findings.append(f"{product.name} is float32, which the manifest does not say")
        if product.kind != "fp32" and product.holds_copy:
            findings.append(f"{product.name} keeps its weights in float32")
    if graph.precision == "int8" and not counts["int8"]:
        findings.append("it is INT8 by its manifest, but none of its products is")
    if findings:
        raise BuildError(
            f"{graph.file} is not what its manifest says: {'; '.join(findings)}. Export the bundle "
            "again with this release."
        )
    return {str(kind): count for kind, count in sorted(counts.items())}


def find_products(api: Api, network: Any) -> Iterator[Product]:
    """The matrix products of a parsed network, in its order."""
    trt = api.trt
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    makers = {
        layer.get_output(index).name: layer
        for layer in layers
        for index in range(layer.num_outputs)
    }
    for layer in layers:
        if layer.type != trt.LayerType.MATRIX_MULTIPLY:
            continue
        sides = [makers.get(layer.get_input(index).name) for index in range(2)]
        integers = [side is not None and side.type == trt.LayerType.DEQUANTIZE for side in sides]
        kind: Literal["int8", "fp16", "fp32", "mixed"]
        if any(integers):
            kind = "int8" if all(integers) else "mixed"
        else:
            kind = "fp16" if layer.get_output(0).dtype == trt.DataType.HALF else "fp32"
        holds_copy = any(_is_float_constant(api, makers, side) for side in sides)
        yield Product(layer.name, kind, holds_copy)


def _is_float_constant(api: Api, makers: dict[str, Any], layer: Any) -> bool:
    """Whether what ``layer`` makes is a float32 constant, perhaps converted."""
    kinds = api.trt.LayerType
    converting = {kinds.CAST, kinds.QUANTIZE, kinds.DEQUANTIZE, kinds.SHUFFLE, kinds.IDENTITY}
    while layer is not None and layer.type in converting:
        layer = makers.get(layer.get_input(0).name)
    return (
        layer is not None
        and layer.type == kinds.CONSTANT
        and layer.get_output(0).dtype == api.trt.DataType.FLOAT
    )
