"""Write the vision tower's graph: the patches of one image to features and merged tokens.

The grid is fixed, so the order of the windows and the rotary tables are constants, and attention
needs no mask (``windows.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adcopilot_edge.export.attention import window_attention
from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.dialect import Dialect, Rotary
from adcopilot_edge.export.fused import FUSED
from adcopilot_edge.export.graph import new_graph
from adcopilot_edge.export.linear import LinearForm
from adcopilot_edge.export.section import Section
from adcopilot_edge.export.windows import WindowGroup, patch_rotary, window_layout
from adcopilot_edge.types import FloatArray

VISION_EPS = 1e-6  # of every norm of the vision side, fixed in the model's code
# Attention mixes all patches of a window, so a wrong weight shows in any of them.
_NUM_PROBES = 16


def write_vision_graph(
    path: Path,
    checkpoint: Checkpoint,
    *,
    grid: tuple[int, int],
    form: LinearForm,
    dialect: Dialect = FUSED,
    on_block: Callable[[int], None] = lambda _: None,
) -> None:
    """Write the graph ``patches`` (N, 1176) -> ``features`` (N, C), ``tokens`` (N / 4, D).

    Its twin with probes has, besides, some rows of what the patch embedding and each block give:
    ``patch_embed`` and ``block_{k}``, each (P, C), the patches of :func:`probe_rows`.

    Args:
        path: The ONNX file.
        checkpoint: Where the weights are.
        grid: (rows, columns) of patches.
        form: How the linear layers compute.
        dialect: In which operators all else is written.
        on_block: Called with the number of blocks written so far.
    """
    config = checkpoint.vision
    num_patches, merged = grid[0] * grid[1], config.spatial_merge_size**2
    layout = window_layout(
        *grid,
        merge_size=config.spatial_merge_size,
        window=config.window_size // checkpoint.patch_size,
    )
    whole = (WindowGroup(1, num_patches),)
    with new_graph(path) as graph:
        tower = Section(graph, checkpoint, form, dialect, "visual")
        num_values = tower.layer("patch_embed.proj").shape[1]
        patches = graph.input("patches", (num_patches, num_values))
        # The sum of all blocks stays in float32: released towers reach thousands in it.
        hidden = graph.cast(
            tower.linear(patches, "patch_embed.proj"), ir.DataType.FLOAT, name="embedded"
        )
        rows = probe_rows(num_patches)
        graph.probe(hidden, "patch_embed", rows)
        hidden = graph.gather_rows(hidden, layout.order, name="to_windows")
        cos, sin = vision_rotary(checkpoint, grid)
        rotary = dialect.rotary(graph, cos[layout.order], sin[layout.order])
        for index in range(config.depth):
            groups = whole if index in config.fullatt_block_indexes else layout.groups
            hidden = _block(tower.child(f"blocks.{index}"), hidden, rotary, groups)
            graph.probe(hidden, f"block_{index}", layout.inverse[rows])
            graph.end_block()
            on_block(index + 1)
        features = graph.gather_rows(hidden, layout.inverse, name="to_patches")
        tokens = _merge(tower.child("merger"), features)
        graph.output(features, "features", (num_patches, config.hidden_size))
        graph.output(tokens, "tokens", (num_patches // merged, config.out_hidden_size))


def probe_rows(num_patches: int) -> NDArray[np.int64]:
    """The patches whose values the parity ladder compares block by block: evenly spread."""
    return np.unique(np.linspace(0, num_patches - 1, _NUM_PROBES).round().astype(np.int64))


def vision_rotary(checkpoint: Checkpoint, grid: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Cosine and sine, each (N, head_dim / 2), of the patches in the processor's order."""
    config = checkpoint.vision
    return patch_rotary(
        *grid,
        merge_size=config.spatial_merge_size,
        head_dim=config.hidden_size // config.num_heads,
        theta=checkpoint.vision_rope["rope_theta"],
    )


def _block(
    block: Section, hidden: ir.Value, rotary: Rotary, groups: Sequence[WindowGroup]
) -> ir.Value:
    """One transformer block: (N, C) to (N, C), attention within ``groups``."""
    graph = block.graph
    update = _attend(block, block.norm(hidden, "norm1", eps=VISION_EPS), rotary, groups)
    hidden = graph.add(hidden, update, name=f"{block.prefix}.attended")
    update = block.swiglu(block.norm(hidden, "norm2", eps=VISION_EPS), "mlp")
    return graph.add(hidden, update, name=f"{block.prefix}.output")


def _attend(
    block: Section, value: ir.Value, rotary: Rotary, groups: Sequence[WindowGroup]
) -> ir.Value:
    """The block's attention; the fused product holds queries, then keys, then values."""
    graph, name = block.graph, f"{block.prefix}.attn"
    config = block.checkpoint.vision
    heads, head_dim = config.num_heads, config.hidden_size // config.num_heads
    fused = block.linear(value, "attn.qkv")
    fused = graph.reshape(fused, (-1, 3 * heads, head_dim), name=f"{name}.heads")
    turning, values = graph.split(fused, (2 * heads, heads), axis=1, name=f"{name}.operands")
    turned = rotary.rotate(graph, turning, name=f"{name}.rotary")
    queries, keys = graph.split(turned, (heads, heads), axis=1, name=f"{name}.turned")
    operands = (queries, keys, values)
    mixed = window_attention(graph, block.dialect, operands, groups, (heads, head_dim), name=name)
    return block.linear(mixed, "attn.proj")


def _merge(merger: Section, features: ir.Value) -> ir.Value:
    """The patch merger: features (N, C) to tokens (N / 4, D), cells in raster order."""
    graph = merger.graph
    normed = merger.norm(features, "ln_q", eps=VISION_EPS)
    width = merger.layer("mlp.0").shape[1]
    cells = graph.reshape(normed, (-1, width), name=f"{merger.prefix}.cells")
    hidden = merger.linear(cells, "mlp.0")
    hidden = merger.dialect.gelu(graph, hidden, name=f"{merger.prefix}.gelu")
    return merger.linear(hidden, "mlp.2")
