"""Tell each comparison token its part of the anomaly map (``compare_token_cells``).

The same numbers as the model's ``training/told_map.py``, for one fixed grid of patches.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from adcopilot_edge.areas import TOLD_GAIN, area_shares
from adcopilot_edge.export.section import Section
from adcopilot_edge.types import FloatArray


def add_told_map(
    encoder: Section,
    tokens: ir.Value,
    logits: ir.Value,
    types: ir.Value | None,
    grid: tuple[int, int],
) -> ir.Value:
    """Comparison tokens (L, D) with what they are told of the map added.

    logits: of the map, (rows * k, columns * k). types: their logits, (rows, columns, types).
    """
    graph, name, config = encoder.graph, f"{encoder.prefix}.told", encoder.checkpoint.vision
    side, parts = math.isqrt(config.compare_token_size), config.compare_token_cells
    found = graph.op("Sigmoid", [logits], name=f"{name}.found")
    fine = side * parts
    cells = [size * config.compare_map_scale for size in grid]
    means = _means(
        encoder, found, area_shares(fine, cells[0]), area_shares(fine, cells[1]), "parts"
    )
    own = graph.reshape(means, (side, parts, side, parts), name=f"{name}.cells")
    own = graph.op("Transpose", [own], {"perm": (0, 2, 1, 3)}, name=f"{name}.by_token")
    told = [graph.reshape(own, (side**2, parts**2), name=f"{name}.own")]
    turned = graph.op("Transpose", [means], {"perm": (1, 0)}, name=f"{name}.turned")
    tokens_of = np.indices((side, side)).reshape(2, -1)
    for image, band, which in ((means, tokens_of[0], "beside"), (turned, tokens_of[1], "along")):
        bands = graph.reshape(image, (side, parts, fine), name=f"{name}.{which}.bands")
        highest = graph.op(
            "ReduceMax",
            [bands, graph.constant(f"{name}.{which}.axis", np.array([1]))],
            {"keepdims": 0},
            name=f"{name}.{which}.highest",
        )
        told.append(graph.gather_rows(highest, band, name=f"{name}.{which}"))
    if types is not None:
        told.append(_types_by_token(encoder, found, types, grid, side))
    everything = graph.op("Concat", told, {"axis": 1}, name=f"{name}.all")
    # A few numbers a token: nothing to gain from INT8.
    matrix = np.float32(TOLD_GAIN) * encoder.tensor("told_map").astype(np.float32)
    weights = graph.constant(f"{name}.weights", matrix)
    update = graph.op("MatMul", [everything, weights], name=f"{name}.update")
    return graph.add(update, tokens, name=f"{name}.tokens")


def _types_by_token(
    encoder: Section, found: ir.Value, types: ir.Value, grid: tuple[int, int], side: int
) -> ir.Value:
    """How many patches' area of each type lies in the cell of each token: (L, types)."""
    graph, name, config = encoder.graph, f"{encoder.prefix}.told.types", encoder.checkpoint.vision
    (rows, columns), scale = grid, config.compare_map_scale
    count = len(config.compare_map_types)
    in_patch = found
    if scale > 1:
        shares = [area_shares(size, size * scale) for size in grid]
        in_patch = _means(encoder, found, shares[0], shares[1], "patches")
    in_patch = graph.reshape(in_patch, (rows, columns, 1), name=f"{name}.found")
    of_type = graph.op("Softmax", [types], {"axis": -1}, name=f"{name}.shares")
    of_type = graph.op("Mul", [of_type, in_patch], name=f"{name}.of_patch")
    down, across = (area_shares(side, size) * np.float32(size / side) for size in grid)
    of_type = graph.reshape(of_type, (rows, columns * count), name=f"{name}.lines")
    of_type = graph.op(
        "MatMul", [graph.constant(f"{name}.down", down), of_type], name=f"{name}.bands"
    )
    of_type = graph.reshape(of_type, (side, columns, count), name=f"{name}.of_band")
    of_type = graph.op(
        "MatMul", [graph.constant(f"{name}.across", across), of_type], name=f"{name}.of_token"
    )
    return graph.reshape(of_type, (side**2, count), name=f"{name}.rows")


def _means(
    encoder: Section, image: ir.Value, down: FloatArray, across: FloatArray, name: str
) -> ir.Value:
    """``down`` @ ``image`` @ ``across``.T."""
    graph, name = encoder.graph, f"{encoder.prefix}.told.{name}"
    bands = graph.op("MatMul", [graph.constant(f"{name}.down", down), image], name=f"{name}.bands")
    turned = graph.constant(f"{name}.across", np.ascontiguousarray(across.T))
    return graph.op("MatMul", [bands, turned], name=f"{name}.means")
