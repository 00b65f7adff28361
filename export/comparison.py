"""Write the Comparison Encoder's graph: the features of two images to comparison tokens.

Steps and tensor names follow the AD-Copilot spec, section 3.3. Both images have the same grid, so
nothing is padded and no mask is needed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.dialect import Dialect, Rotary
from adcopilot_edge.export.fused import FUSED
from adcopilot_edge.export.graph import new_graph
from adcopilot_edge.export.linear import FloatForm, LinearForm
from adcopilot_edge.export.section import Section
from adcopilot_edge.export.told_map import add_told_map
from adcopilot_edge.export.vision import VISION_EPS, vision_rotary
from adcopilot_edge.export.windows import patch_indices, patch_places, place_rotary
from adcopilot_edge.positions import grid_places, place_waves
from adcopilot_edge.types import FloatArray

# The rotary tables of queries and keys, where they have a place.
_Places = tuple[Rotary, Rotary] | None


def write_comparison_graph(
    path: Path,
    checkpoint: Checkpoint,
    *,
    grid: tuple[int, int],
    form: LinearForm,
    dialect: Dialect = FUSED,
) -> None:
    """Write ``previous`` (N, C), ``current`` (N, C) -> ``comparison_tokens`` (L, D).

    Features are in the processor's patch order. With the anomaly-map head there is a second
    output, ``anomaly_logits`` (rows * k, columns * k) of the current image, k its
    ``compare_map_scale``: k x k logits a patch. With types of defect there is a third,
    ``type_logits`` (rows, columns, types).

    Args:
        path: The ONNX file.
        checkpoint: Where the weights are.
        grid: (rows, columns) of patches.
        form: How the linear layers compute.
        dialect: In which operators all else is written.
    """
    config = checkpoint.vision
    shape = (grid[0] * grid[1], config.hidden_size)
    with new_graph(path) as graph:
        encoder = Section(graph, checkpoint, form, dialect, "visual.compare_visual_encoder")
        previous, current = graph.input("previous", shape), graph.input("current", shape)
        rotary = anchors = None
        if config.compare_rope or config.compare_query_grid:
            rotary = dialect.rotary(graph, *vision_rotary(checkpoint, grid))
        if config.compare_query_grid:
            anchors = dialect.rotary(graph, *_anchor_rotary(checkpoint, grid), name="anchors")
        updated = _update_current(
            encoder, previous, current, rotary if config.compare_rope else None
        )
        places = (anchors, rotary) if anchors is not None and rotary is not None else None
        tokens = _read_out(encoder, updated, places, grid)
        logits = _map_logits(encoder, updated, grid) if config.compare_anomaly_map else None
        types = _type_logits(encoder, updated, grid) if config.compare_map_types else None
        if logits is not None and config.compare_token_cells:
            tokens = add_told_map(encoder, tokens, logits, types, grid)
        token_shape = (config.compare_token_size, config.out_hidden_size)
        graph.output(tokens, "comparison_tokens", token_shape)
        if logits is not None:
            scale = config.compare_map_scale
            graph.output(logits, "anomaly_logits", (grid[0] * scale, grid[1] * scale))
        if types is not None:
            graph.output(types, "type_logits", (*grid, len(config.compare_map_types)))


def _anchor_rotary(checkpoint: Checkpoint, grid: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Cosine and sine, each (L, head_dim / 2), of the places of the queries."""
    config = checkpoint.vision
    return place_rotary(
        grid_places(*grid, config.compare_token_size),
        head_dim=config.hidden_size // config.num_heads,
        theta=checkpoint.vision_rope["rope_theta"],
    )


def _map_logits(encoder: Section, updated: ir.Value, grid: tuple[int, int]) -> ir.Value:
    """Logits of the map (rows * k, columns * k): the cells of all patches in their places."""
    graph, scale, (rows, columns) = encoder.graph, encoder.checkpoint.vision.compare_map_scale, grid
    logits = _patch_logits(encoder, updated, "anomaly_map", grid)
    if scale > 1:
        cells = graph.reshape(logits, (rows, columns, scale, scale), name="cells")
        logits = graph.op("Transpose", [cells], {"perm": (0, 2, 1, 3)}, name="cell_rows")
    return graph.reshape(logits, (rows * scale, columns * scale), name="map")


def _type_logits(encoder: Section, updated: ir.Value, grid: tuple[int, int]) -> ir.Value:
    """Logits of the types of each patch, (rows, columns, types)."""
    shape = (*grid, len(encoder.checkpoint.vision.compare_map_types))
    logits = _patch_logits(encoder, updated, "type_map", grid)
    return encoder.graph.reshape(logits, shape, name="types")


def _patch_logits(
    encoder: Section, updated: ir.Value, head: str, grid: tuple[int, int]
) -> ir.Value:
    """What a head of the map says of each patch, in raster order (N, outputs)."""
    # Few outputs a patch: nothing to gain from INT8, and the scale is the map's own.
    logits = encoder.with_form(FloatForm()).linear(updated, head)
    raster = patch_indices(*grid, encoder.checkpoint.vision.spatial_merge_size).ravel()
    return encoder.graph.gather_rows(logits, raster, name=f"{head}.to_raster")


def _update_current(
    encoder: Section, previous: ir.Value, current: ir.Value, rotary: Rotary | None
) -> ir.Value:
    """The current features (N, C) after both image-to-image attentions (steps 1 to 8)."""
    graph, prefix = encoder.graph, encoder.prefix
    both = (rotary, rotary) if rotary is not None else None
    query = encoder.norm(previous, "encoder_norm1", eps=VISION_EPS, use=".previous")
    context = encoder.norm(current, "encoder_norm1", eps=VISION_EPS, use=".current")
    update = _cross_attend(encoder.child("encoder_cross_attn1"), query, context, both)
    previous = graph.add(previous, update, name=f"{prefix}.previous_attended")
    update = encoder.swiglu(encoder.norm(previous, "encoder_norm2", eps=VISION_EPS), "encoder_mlp1")
    previous = graph.add(previous, update, name=f"{prefix}.previous_updated")

    query = encoder.norm(current, "encoder_norm3", eps=VISION_EPS, use=".current")
    context = encoder.norm(previous, "encoder_norm3", eps=VISION_EPS, use=".previous")
    update = _cross_attend(encoder.child("encoder_cross_attn2"), query, context, both)
    current = graph.add(current, update, name=f"{prefix}.current_attended")
    update = encoder.swiglu(encoder.norm(current, "encoder_norm4", eps=VISION_EPS), "encoder_mlp2")
    minus = encoder.checkpoint.vision.compare_minus_residual
    sign = "Sub" if minus else "Add"
    update = graph.cast(update, ir.DataType.FLOAT, name=f"{prefix}.last_update")
    return graph.op(sign, [current, update], name=f"{prefix}.current_updated")


def _read_out(
    encoder: Section, current: ir.Value, places: _Places, grid: tuple[int, int]
) -> ir.Value:
    """Comparison tokens (L, D) that the queries read off the features (steps 9 to 13)."""
    graph, prefix = encoder.graph, encoder.prefix
    queries = graph.constant(f"{prefix}.query_embeddings", encoder.tensor("query_embeddings"))
    query = encoder.norm(queries, "decoder_norm1", eps=VISION_EPS, use=".queries")
    context = encoder.norm(current, "decoder_norm1", eps=VISION_EPS, use=".current")
    if encoder.checkpoint.vision.compare_patch_places:
        told = graph.constant(f"{prefix}.told_places", _told_places(encoder, grid))
        context = graph.add(context, told, name=f"{prefix}.context_placed")
    update = _cross_attend(encoder.child("decoder_cross_attn"), query, context, places)
    queries = graph.add(queries, update, name=f"{prefix}.queries_attended")
    update = encoder.swiglu(encoder.norm(queries, "decoder_norm2", eps=VISION_EPS), "decoder_mlp")
    queries = graph.add(queries, update, name=f"{prefix}.queries_updated")
    return encoder.linear(queries, "compare_projector")


def _told_places(encoder: Section, grid: tuple[int, int]) -> FloatArray:
    """What is added to each patch (N, C) to tell the queries its place."""
    patches = patch_places(*grid, encoder.checkpoint.vision.spatial_merge_size)
    return place_waves(patches, *grid) @ encoder.tensor("patch_places").astype(np.float32)


def _cross_attend(attn: Section, query: ir.Value, context: ir.Value, places: _Places) -> ir.Value:
    """Attention of ``query`` (T, C) over ``context`` (N, C); ``kv`` holds keys, then values."""
    graph, name = attn.graph, attn.prefix
    config = attn.checkpoint.vision
    heads, head_dim = config.num_heads, config.hidden_size // config.num_heads
    queries = attn.linear(query, "q_proj")
    queries = graph.reshape(queries, (-1, heads, head_dim), name=f"{name}.query_heads")
    fused = attn.linear(context, "kv")
    fused = graph.reshape(fused, (-1, 2 * heads, head_dim), name=f"{name}.heads")
    keys, values = graph.split(fused, (heads, heads), axis=1, name=f"{name}.operands")
    if places is not None:
        queries = places[0].rotate(graph, queries, name=f"{name}.query_rotary")
        keys = places[1].rotate(graph, keys, name=f"{name}.key_rotary")
    operands = (queries, keys, values)
    mixed = attn.dialect.attention(graph, operands, (heads, head_dim), name=name)
    return attn.linear(mixed, "proj")
