"""Write the graphs of a bundle into its folder, and say what each is."""

from __future__ import annotations

from pathlib import Path

from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.comparison import write_comparison_graph
from adcopilot_edge.export.decoder import write_decoder_graph
from adcopilot_edge.export.gptq import Grams
from adcopilot_edge.export.graph import probes_path, ranges_path
from adcopilot_edge.export.precision import VisionStyle
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.tensorrt import lint_graph
from adcopilot_edge.export.vision import write_vision_graph
from adcopilot_edge.manifest import Graph, GraphName, ModelSpec
from adcopilot_edge.types import OnStep

Graphs = dict[GraphName, Graph]

_VISION, _COMPARISON, _DECODER = "vision.onnx", "comparison.onnx", "decoder.onnx"


def write_vision_side(
    checkpoint: Checkpoint,
    folder: Path,
    recipe: ExportRecipe,
    model: ModelSpec,
    style: VisionStyle,
    on_step: OnStep = lambda *_: None,
) -> Graphs:
    """Write the graphs that see; one whose export was killed goes on where it was.

    Args:
        checkpoint: Where the weights are.
        folder: The bundle's.
        recipe: Their precision.
        model: Their shapes.
        style: How they compute.
        on_step: Told of every block.

    Raises:
        ExportError: A graph for TensorRT holds what its releases do not read.
    """
    graphs: Graphs = {}
    depth = checkpoint.vision.depth
    on_step("vision", 0, depth)
    write_vision_graph(
        folder / _VISION,
        checkpoint,
        grid=model.grid,
        form=style.form,
        dialect=style.dialect,
        on_block=lambda done: on_step("vision", done, depth),
    )
    graphs["vision"] = _describe("vision", folder / _VISION, recipe, style)
    if model.compare_token_size:
        on_step("comparison", 0, 1)
        write_comparison_graph(
            folder / _COMPARISON,
            checkpoint,
            grid=model.grid,
            form=style.form,
            dialect=style.dialect,
        )
        graphs["comparison"] = _describe("comparison", folder / _COMPARISON, recipe, style)
    if recipe.target == "tensorrt":
        for graph in graphs.values():
            lint_graph(folder / graph.file)
    return graphs


def write_language_model(
    checkpoint: Checkpoint,
    folder: Path,
    recipe: ExportRecipe,
    model: ModelSpec,
    grams: Grams | None,
    on_step: OnStep = lambda *_: None,
) -> Graphs:
    """Write the decoder's graph, likewise.

    Args:
        checkpoint: Where the weights are.
        folder: The bundle's.
        recipe: Its precision.
        model: Its shape.
        on_step: Told of every layer.
        grams: What its layers get as input, where the quantizer asks for that.
    """
    on_step("decoder", 0, model.num_layers)
    write_decoder_graph(
        folder / _DECODER,
        checkpoint,
        form=recipe.decoder_form(grams),
        head_form=recipe.head_form,
        on_layer=lambda done: on_step("decoder", done, model.num_layers),
    )
    quantizer = recipe.quantizer if recipe.llm in ("int4", "int8") else None
    return {"decoder": Graph(file=_DECODER, precision=recipe.llm, quantizer=quantizer)}


def _describe(name: GraphName, path: Path, recipe: ExportRecipe, style: VisionStyle) -> Graph:
    """What the manifest says of the graph at ``path``, and the twins that its writer made."""
    probes, ranges = probes_path(path), ranges_path(path)
    return Graph(
        file=path.name,
        precision=recipe.vision,
        form=recipe.vision_form,
        exact=style.exact_of(name),
        kept=style.kept_of(name),
        probes=probes.name if probes.is_file() else None,
        ranges=ranges.name if ranges.is_file() else None,
    )
