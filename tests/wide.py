"""Qwen2.5-VL's vision tower at full width, in a bundle for TensorRT; the values are noise."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from full_shape import write_checkpoint
from tiny import tiny_config
from toy import MODEL, write_toy_bundle

from adcopilot_edge.bundle import Bundle, list_files, open_bundle, write_manifest
from adcopilot_edge.export.checkpoint import Checkpoint, open_checkpoint
from adcopilot_edge.export.float_run import FloatRun
from adcopilot_edge.export.observe import observe_ranges
from adcopilot_edge.export.pieces import PiecewiseGraph
from adcopilot_edge.export.precision import vision_style
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.tensorrt import lint_graph
from adcopilot_edge.export.vision import write_vision_graph
from adcopilot_edge.manifest import Graph
from adcopilot_edge.record import Precision
from adcopilot_edge.runtime.preprocess import Preprocessor
from adcopilot_edge.training.synthetic import generate_pair

WIDTH, MLP, PADDED_MLP = 1280, 3420, 3424
# What a piece of the float32 tower may take while ranges are observed.
_PIECE_BYTES = 512 << 20


def wide_checkpoint(folder: Path, depth: int, full_attention: tuple[int, ...]) -> Checkpoint:
    """A checkpoint whose vision tower has ``depth`` blocks of full width."""
    config = tiny_config(
        vision_width=WIDTH,
        vision_depth=depth,
        vision_heads=16,
        vision_mlp=MLP,
        full_attention_blocks=full_attention,
        compare_token_size=0,
    )
    return open_checkpoint(write_checkpoint(folder, config))


def wide_bundle(
    folder: Path, checkpoint: Checkpoint, vision: Precision, *, height: int, width: int
) -> Bundle:
    """A toy bundle with the vision graph of ``checkpoint``, as an export writes it."""
    recipe = ExportRecipe(
        image_height=height, image_width=width, target="tensorrt", vision=vision, llm="int4"
    )
    preprocessor = Preprocessor(image_height=height, image_width=width)
    pair = generate_pair(0, size=112)
    run = FloatRun(
        checkpoint,
        preprocessor,
        [(preprocessor.resize(pair.golden), preprocessor.resize(pair.test))],
        pairs="1 generated pair",
        scratch=folder.parent,
        open_graph=partial(PiecewiseGraph, budget_bytes=_PIECE_BYTES),
    )
    ranges = observe_ranges(run)
    style = vision_style(recipe, ranges)
    bundle = write_toy_bundle(
        folder, MODEL.model_copy(update={"compare_token_size": 0, "has_anomaly_map": False})
    )
    path = bundle.file("vision.onnx")
    write_vision_graph(
        path, checkpoint, grid=(height // 14, width // 14), form=style.form, dialect=style.dialect
    )
    lint_graph(path)
    graphs = {
        **bundle.manifest.graphs,
        "vision": Graph(file=path.name, precision=vision, exact=style.exact_of("vision")),
    }
    changes = {"target": "tensorrt", "graphs": graphs, "files": list_files(folder)}
    write_manifest(folder, bundle.manifest.model_copy(update=changes))
    return open_bundle(folder)
