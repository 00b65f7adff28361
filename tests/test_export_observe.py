"""Ranges over pairs: what is observed, and that it is what the values really do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import PAIR_IMAGES, PREPROCESSOR, save_tiny, tiny_config, tiny_model

from adcopilot_edge.calibration.ranges import Ranges
from adcopilot_edge.errors import CalibrationError
from adcopilot_edge.export.checkpoint import open_checkpoint
from adcopilot_edge.export.float_run import FloatRun
from adcopilot_edge.export.observe import observe_ranges
from adcopilot_edge.export.pieces import PiecewiseGraph
from adcopilot_edge.runtime.session import GraphSession, OpenGraph
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def model() -> ADCopilotForConditionalGeneration:
    return tiny_model(tiny_config())


@pytest.fixture(scope="module")
def checkpoint(
    model: ADCopilotForConditionalGeneration, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny") / "checkpoint", model)


def observe(
    checkpoint: Path,
    scratch: Path,
    count: int = 2,
    open_graph: OpenGraph = GraphSession,
    **how,
) -> Ranges:
    run = FloatRun(
        open_checkpoint(checkpoint),
        PREPROCESSOR,
        PAIR_IMAGES[:count],
        pairs="generated boards",
        scratch=scratch,
        open_graph=open_graph,
    )
    return observe_ranges(run, **how)


def test_every_layer_and_every_attention_is_observed(checkpoint: Path, tmp_path: Path) -> None:
    done: list[int] = []
    ranges = observe(checkpoint, tmp_path, on_pair=done.append)
    assert (ranges.pairs, ranges.num_pairs, done) == ("generated boards", 2, [1, 2])
    blocks = {
        f"visual.blocks.{index}.{layer}"
        for index in range(3)
        for layer in ("attn.qkv", "attn.proj", "mlp.gate_up", "mlp.down_proj")
    }
    others = {"visual.patch_embed.proj", "visual.merger.mlp.0", "visual.merger.mlp.2"}
    compared = {
        f"visual.compare_visual_encoder.{part}{layer}"
        for part, layers in {
            "encoder_cross_attn1.": ("q_proj", "kv", "proj"),
            "encoder_cross_attn2.": ("q_proj", "kv", "proj"),
            "decoder_cross_attn.": ("q_proj", "kv", "proj"),
            "encoder_mlp1.": ("gate_up", "down_proj"),
            "encoder_mlp2.": ("gate_up", "down_proj"),
            "decoder_mlp.": ("gate_up", "down_proj"),
            "compare_projector": ("",),
        }.items()
        for layer in layers
    }
    layers = blocks | others | compared
    observed = {name for name in ranges.table if not name.endswith(".scores")}
    assert observed == {f"{layer}.{end}" for layer in layers for end in ("input", "output")}
    scores = {name.split(".window")[0] for name in ranges.table if name.endswith(".scores")}
    attentions = {f"visual.blocks.{index}.attn" for index in range(3)}
    cross = ("encoder_cross_attn1", "encoder_cross_attn2", "decoder_cross_attn")
    assert scores == attentions | {f"visual.compare_visual_encoder.{name}.scores" for name in cross}


def test_ranges_are_those_of_the_torch_modules(
    model: ADCopilotForConditionalGeneration, checkpoint: Path, tmp_path: Path
) -> None:
    ranges = observe(checkpoint, tmp_path)
    seen: list[torch.Tensor] = []
    layer = model.model.visual.blocks[1].mlp.down_proj
    hook = layer.register_forward_hook(lambda _, inputs, output: seen.extend((*inputs, output)))
    patches = [PREPROCESSOR.patches(image) for pair in PAIR_IMAGES for image in pair]
    grid = torch.tensor([[1, *PREPROCESSOR.grid[1:]]])
    with torch.no_grad():
        for one in patches:
            model.model.visual(torch.from_numpy(one), grid_thw=grid)
    hook.remove()
    for end, tensors in (("input", seen[::2]), ("output", seen[1::2])):
        low, high = ranges.table[f"visual.blocks.1.mlp.down_proj.{end}"]
        # float32 sums in another order.
        assert low == pytest.approx(min(float(it.min()) for it in tensors), rel=1e-4)
        assert high == pytest.approx(max(float(it.max()) for it in tensors), rel=1e-4)


def test_more_pairs_never_narrow_a_range(checkpoint: Path, tmp_path: Path) -> None:
    one, two = (observe(checkpoint, tmp_path, count) for count in (1, 2))
    assert one.table != two.table
    for name, (low, high) in one.table.items():
        assert two.table[name][0] <= low
        assert two.table[name][1] >= high


def test_nothing_is_left_behind_and_pieces_give_the_same(checkpoint: Path, tmp_path: Path) -> None:
    whole = observe(checkpoint, tmp_path)
    assert list(tmp_path.iterdir()) == []

    def open_pieces(path: Path, **how):
        return PiecewiseGraph(path, **how, budget_bytes=60_000)

    assert observe(checkpoint, tmp_path, open_graph=open_pieces) == whole
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_comparison(tmp_path: Path) -> None:
    model = tiny_model(tiny_config(compare_token_size=0))
    checkpoint = save_tiny(tmp_path / "checkpoint", model, is_stock=True)
    ranges = observe(checkpoint, tmp_path)
    assert ranges.table
    assert not any("compare" in name for name in ranges.table)


def test_values_that_are_not_finite_are_told(tmp_path: Path) -> None:
    """onnxruntime's ReduceMax passes over a NaN, so the ranges alone would not show it."""
    model = tiny_model(tiny_config())
    with torch.no_grad():
        # Beyond float32 in the product, infinity minus infinity behind it.
        model.get_parameter("model.visual.blocks.1.mlp.gate_proj.weight").mul_(1e30)
        model.get_parameter("model.visual.blocks.1.mlp.up_proj.weight").mul_(1e30)
    checkpoint = save_tiny(tmp_path / "checkpoint", model)
    with pytest.raises(
        CalibrationError, match="gives NaN or infinity on generated boards, seen in"
    ):
        observe(checkpoint, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_features_of_a_good_model_are_finite(checkpoint: Path, tmp_path: Path) -> None:
    edges = np.array(list(observe(checkpoint, tmp_path).table.values()))
    assert np.isfinite(edges).all()
    assert (edges[:, 0] < edges[:, 1]).all()


def test_values_are_let_go_layer_by_layer(checkpoint: Path, tmp_path: Path) -> None:
    """Else a tower of full width keeps all its layers' values until the end of a run."""
    asked: list[bool] = []

    def open_graph(path: Path, *, keeps_order: bool = False, **how):
        asked.append(keeps_order)
        return GraphSession(path, keeps_order=keeps_order, **how)

    observe(checkpoint, tmp_path, open_graph=open_graph)
    assert asked == [True, True]
