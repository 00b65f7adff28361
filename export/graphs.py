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
from adcopilot_edge.export.vision import write_vision_graph
from adcopilot_edge.manifest import Graph, GraphName, ModelSpec
from adcopilot_edge.types import OnStep

_VISION, _COMPARISON, _DECODER = "vision.onnx", "comparison.onnx", "decoder.onnx"


def write_graphs(
    checkpoint: Checkpoint,
    folder: Path,
    recipe: ExportRecipe,
    model: ModelSpec,
    style: VisionStyle,
    grams: Grams | None,
    on_step: OnStep,
) -> dict[GraphName, Graph]:
    """Write the graphs that the model has; one whose export was killed goes on where it was.

    Args:
        checkpoint: Where the weights are.
        folder: The bundle's.
        recipe: Their precisions.
        model: Their shapes.
        style: How the vision side computes.
        grams: What the decoder's layers get as input, where its quantizer asks for that.
        on_step: Told of every block.
    """
    graphs: dict[GraphName, Graph] = {}
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
    graphs["vision"] = Graph(
        file=_VISION,
        precision=recipe.vision,
        form=recipe.vision_form,
        exact=style.exact_of("vision"),
        probes=probes_path(folder / _VISION).name,
        ranges=_ranges_file(folder / _VISION),
    )
    if model.compare_token_size:
        on_step("comparison", 0, 1)
        write_comparison_graph(
            folder / _COMPARISON,
            checkpoint,
            grid=model.grid,
            form=style.form,
            dialect=style.dialect,
        )
        graphs["comparison"] = Graph(
            file=_COMPARISON,
            precision=recipe.vision,
            form=recipe.vision_form,
            exact=style.exact_of("comparison"),
            ranges=_ranges_file(folder / _COMPARISON),
        )
    on_step("decoder", 0, model.num_layers)
    write_decoder_graph(
        folder / _DECODER,
        checkpoint,
        form=recipe.decoder_form(grams),
        head_form=recipe.head_form,
        on_layer=lambda done: on_step("decoder", done, model.num_layers),
    )
    graphs["decoder"] = Graph(
        file=_DECODER,
        precision=recipe.llm,
        quantizer=recipe.quantizer if recipe.llm in ("int4", "int8") else None,
    )
    return graphs


def _ranges_file(path: Path) -> str | None:
    """The name of the twin of ranges of the graph at ``path``, where the writer made one."""
    twin = ranges_path(path)
    return twin.name if twin.is_file() else None
