"""Histograms made inside the graph: that they count what the layers really get."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import PAIR_IMAGES, PREPROCESSOR, save_tiny, tiny_config, tiny_model

from adcopilot_edge.calibration.clipping import NUM_BINS, Histogram, Method, find_clip
from adcopilot_edge.calibration.ranges import Ranges
from adcopilot_edge.export.checkpoint import open_checkpoint
from adcopilot_edge.export.float_run import FloatRun
from adcopilot_edge.export.histogram import count_inputs, int8_inputs, observe_clips
from adcopilot_edge.export.observe import observe_ranges
from adcopilot_edge.export.pieces import PiecewiseGraph
from adcopilot_edge.export.standard import StandardDialect
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


def run(checkpoint: Path, scratch: Path, open_graph: OpenGraph = GraphSession) -> FloatRun:
    return FloatRun(
        open_checkpoint(checkpoint), PREPROCESSOR, PAIR_IMAGES, "boards", scratch, open_graph
    )


@pytest.fixture(scope="module")
def seen(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Ranges:
    return observe_ranges(run(checkpoint, tmp_path_factory.mktemp("ranges")))


@pytest.mark.parametrize("method", ["percentile", "entropy", "mse"])
def test_bounds_are_those_of_what_torch_gives_the_layer(
    model: ADCopilotForConditionalGeneration,
    checkpoint: Path,
    seen: Ranges,
    tmp_path: Path,
    method: Method,
) -> None:
    done: list[int] = []
    ranges = observe_clips(run(checkpoint, tmp_path), seen, method, done.append)
    assert done == [1, 2]
    assert list(tmp_path.iterdir()) == []
    assert (ranges.table, ranges.num_pairs) == (seen.table, 2)
    assert set(ranges.clips) == set(int8_inputs(seen))
    values: list[torch.Tensor] = []
    layer = model.model.visual.blocks[1].attn.qkv
    hook = layer.register_forward_hook(lambda _, inputs, __: values.extend(inputs))
    grid = torch.tensor([[1, *PREPROCESSOR.grid[1:]]])
    with torch.no_grad():
        for pair in PAIR_IMAGES:
            for image in pair:
                patches = torch.from_numpy(PREPROCESSOR.patches(image))
                model.model.visual(patches, grid_thw=grid)
    hook.remove()
    name = "visual.blocks.1.attn.qkv.input"
    sizes = torch.cat(values).abs().numpy()
    edge = seen.bound(name)
    counts = np.histogram(np.minimum(sizes, edge), NUM_BINS, (0, edge))[0]
    expected = find_clip(Histogram(edge, counts, sizes.min(axis=0)), method)
    found = ranges.clips[name]
    assert found.method == expected.method == method
    # float32 sums in another order, and a value at the edge of two bins.
    assert found.bound == pytest.approx(expected.bound, rel=0.04)
    # Fewer values than ten thousand leave nothing for the percentile to cut.
    is_clipped = [clip.bound < seen.bound(name) for name, clip in ranges.clips.items()]
    assert method == "percentile" or any(is_clipped)


def test_pieces_give_the_same(checkpoint: Path, seen: Ranges, tmp_path: Path) -> None:
    def open_pieces(path: Path, **how):
        return PiecewiseGraph(path, **how, budget_bytes=60_000)

    whole = observe_clips(run(checkpoint, tmp_path), seen, "mse")
    assert observe_clips(run(checkpoint, tmp_path, open_pieces), seen, "mse") == whole


def test_every_value_is_counted(checkpoint: Path, seen: Ranges, tmp_path: Path) -> None:
    """Through the graph's own outputs: as many values as rows times channels, all in bins."""
    counted: dict[str, int] = {}

    def see(outputs) -> None:
        for tensors in outputs:
            for name, array in tensors.items():
                if name.endswith(".counts"):
                    counted[name] = int(array.sum())
                    assert array.shape == (NUM_BINS,)
                    assert array.min() >= 0

    run(checkpoint, tmp_path).over_pairs(count_inputs(seen), StandardDialect(), see)
    width = open_checkpoint(checkpoint).vision.hidden_size
    assert counted["visual.blocks.0.attn.qkv.input.counts"] == 4 * 6 * width
