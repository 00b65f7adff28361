"""What a parsed network really computes in: every matrix product by type, none by surprise.

A strongly typed network keeps the types of its graph, so what is counted here is what runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from adcopilot_edge.errors import BuildError
from adcopilot_edge.manifest import Graph
from adcopilot_edge.runtime.engines.api import Api

# Stays float32 in every precision: one output a patch.
_ALWAYS_EXACT = ".anomaly_map"


def check_products(api: Api, network: Any, graph: Graph) -> dict[str, int]:
    """Count the matrix products of ``network`` by type, ``int8``, ``fp16`` and ``fp32``.

    Raises:
        BuildError: A product is in float32 that the manifest does not list as such, or a graph of
            INT8 has no product in INT8.
    """
    counts: Counter[str] = Counter()
    surprises = []
    allowed = tuple(module.name for module in graph.exact)
    for name, kind in _products(api, network):
        counts[kind] += 1
        if kind == "fp32" and not name.startswith(allowed) and _ALWAYS_EXACT not in name:
            surprises.append(name)
    if surprises:
        raise BuildError(
            f"{graph.file} has products in float32 that its manifest does not list: "
            f"{', '.join(surprises)}. Export the bundle again with this release."
        )
    if graph.precision == "int8" and not counts["int8"]:
        raise BuildError(
            f"{graph.file} is INT8 by its manifest, but none of its products is. "
            "Export the bundle again with this release."
        )
    return dict(sorted(counts.items()))


def _products(api: Api, network: Any) -> Iterator[tuple[str, str]]:
    """Each matrix product's name and type: INT8 where both sides come out of INT8 levels."""
    trt = api.trt
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    maker = {
        layer.get_output(index).name: layer.type
        for layer in layers
        for index in range(layer.num_outputs)
    }
    for layer in layers:
        if layer.type == trt.LayerType.MATRIX_MULTIPLY:
            sides = [maker.get(layer.get_input(index).name) for index in range(2)]
            if all(side == trt.LayerType.DEQUANTIZE for side in sides):
                yield layer.name, "int8"
            elif layer.get_output(0).dtype == trt.DataType.HALF:
                yield layer.name, "fp16"
            else:
                yield layer.name, "fp32"
