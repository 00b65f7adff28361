"""Engines that NVIDIA's compiler really builds: everything compiles, and in the types it should."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tensorrt_export import tensorrt_bundle
from tiny import tiny_checkpoint
from wide import PADDED_MLP, WIDTH, wide_bundle, wide_checkpoint

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.record import Precision
from adcopilot_edge.runtime.engines.api import Api
from adcopilot_edge.runtime.engines.build import BuildOptions, build_engine, plan_builds
from adcopilot_edge.runtime.engines.record import read_record

pytestmark = pytest.mark.torch

AMPERE = BuildOptions(capabilities=((8, 6),))
# The small model at 112 x 140 pixels: a full window and a strip, all patches in its second block.
BLOCKS, ATTENTIONS = 3, 2 + 1 + 2
LINEARS, COMPARISON_LINEARS = 4 * BLOCKS, 3 * 5
# A product is a linear layer, or one of two of an attention. Never INT8 are the patch embedding and
# the merger's two layers, or the projector of the comparison tokens; the map is float32.
OTHERS, COMPARISON_OTHERS = 2 * ATTENTIONS + 3, 2 * 3 + 1


def constants(engine: Path) -> Counter[str]:
    """Bytes of the constants in a built engine, by type.

    Without a GPU an engine can't be loaded, so TensorRT's inspector has nothing to look at. But
    TensorRT-RTX keeps a description of each constant in the engine, as text.
    """
    found = re.findall(
        rb'const_payload_size=(\d+) dims=\{[\d ]*\} name="([^"]+)"[^}]*\}[^}]*\} type=(\w+)',
        engine.read_bytes(),
    )
    counts: Counter[str] = Counter()
    for size, _, kind in set(found):
        counts[kind.decode()] += int(size)
    return counts


@pytest.mark.parametrize("vision", ["fp16", "int8"])
def test_the_small_model_compiles(
    tensorrt_bundles: dict[Precision, Bundle], rtx: Api, vision: Precision
) -> None:
    bundle = tensorrt_bundles[vision]
    plans = plan_builds(bundle, rtx, AMPERE)
    records = [build_engine(bundle, plan, rtx, AMPERE) for plan in plans]
    assert [record.graph for record in records] == ["vision", "comparison"]
    if vision == "fp16":
        expected = [
            {"fp16": LINEARS + OTHERS},
            {"fp16": COMPARISON_LINEARS + COMPARISON_OTHERS, "fp32": 1},
        ]
    else:
        expected = [
            {"fp16": OTHERS, "int8": LINEARS},
            {"fp16": COMPARISON_OTHERS, "fp32": 1, "int8": COMPARISON_LINEARS},
        ]
    assert [record.products for record in records] == expected
    for plan, record in zip(plans, records, strict=True):
        assert plan.engine.stat().st_size == record.size_bytes
        assert plan.engine.parent.name == f"tensorrt-rtx-{rtx.version}-sm86"
        assert read_record(plan.engine) == record
        assert (record.gpu, record.compute_capabilities) == (None, ("8.6",))
        assert (record.backend, record.version) == ("tensorrt-rtx", rtx.version)
        assert record.build_seconds > 0
    files = {path.name for path in plans[0].engine.parent.iterdir()}
    engines = {plan.engine.name for plan in plans}
    assert files == engines | {f"{name}.json" for name in engines}


@pytest.mark.parametrize("vision", ["fp16", "int8"])
def test_tokens_told_the_map_compile(tmp_path: Path, rtx: Api, vision: Precision) -> None:
    told = {"compare_token_size": 4, "compare_token_cells": 2, "compare_map_types": ["a", "b"]}
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint", **told)
    bundle = tensorrt_bundle(checkpoint, tmp_path / "bundle", vision)
    (_, plan) = plan_builds(bundle, rtx, AMPERE)
    # The map and the types; means and types of the cells, two products each; what is told.
    assert build_engine(bundle, plan, rtx, AMPERE).products["fp32"] == 2 + 2 * 2 + 1


def test_the_compiler_keeps_the_types(tensorrt_bundles: dict[Precision, Bundle], rtx: Api) -> None:
    by_type = {}
    for vision, bundle in tensorrt_bundles.items():
        (plan, _) = plan_builds(bundle, rtx, AMPERE)
        build_engine(bundle, plan, rtx, AMPERE)
        by_type[vision] = constants(plan.engine)
    quantized = BLOCKS * (3 * 64 * 64 + 64 * 64 + 3 * 96 * 64)  # qkv, proj, gate, up, down
    assert by_type["int8"]["int8"] == quantized
    # But for a scale an output, which a matrix in INT8 has beside its levels.
    scales = BLOCKS * (3 * 64 + 64 + 2 * 96 + 64)
    assert by_type["fp16"]["half"] - by_type["int8"]["half"] >= 2 * (quantized - scales)
    # Gains and rotary tables alone: the smallest matrix of a block would have 16384 bytes.
    assert by_type["fp16"]["float"] == by_type["int8"]["float"] < 16384


@pytest.fixture(scope="module")
def two_blocks(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A windowed block and one of full attention, at full width."""
    return wide_checkpoint(tmp_path_factory.mktemp("two") / "checkpoint", 2, (1,))


@pytest.mark.parametrize("vision", ["fp16", "int8"])
def test_two_blocks_of_full_width_compile(
    two_blocks: Checkpoint, tmp_path: Path, rtx: Api, vision: Precision
) -> None:
    # 168 x 140 pixels have windows of all four sizes.
    bundle = wide_bundle(tmp_path / "bundle", two_blocks, vision, height=168, width=140)
    check_full_width(bundle, rtx, vision, depth=2, attentions=4 + 1)


@pytest.fixture(scope="module")
def all_blocks(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The tower of Qwen2.5-VL, 3B and 7B alike."""
    folder = tmp_path_factory.mktemp("all")
    return wide_checkpoint(folder / "checkpoint", 32, (7, 15, 23, 31))


@pytest.mark.slow
@pytest.mark.parametrize("vision", ["fp16", "int8"])
def test_all_blocks_of_full_width_compile(
    all_blocks: Checkpoint, tmp_path: Path, rtx: Api, vision: Precision
) -> None:
    bundle = wide_bundle(tmp_path / "bundle", all_blocks, vision, height=224, width=224)
    check_full_width(bundle, rtx, vision, depth=32, attentions=32)


def check_full_width(
    bundle: Bundle, rtx: Api, vision: Precision, *, depth: int, attentions: int
) -> None:
    (plan,) = plan_builds(bundle, rtx, AMPERE)
    record = build_engine(bundle, plan, rtx, AMPERE)
    linears, others = 4 * depth, 2 * attentions + 3
    weights = depth * WIDTH * (4 * WIDTH + 3 * PADDED_MLP)
    found = constants(plan.engine)
    if vision == "fp16":
        assert record.products == {"fp16": linears + others}
        assert found["half"] > 2 * weights
        assert found["int8"] == 0
    else:
        assert record.products == {"fp16": others, "int8": linears}
        assert found["int8"] == weights
    # No matrix is there in float32: gains and rotary tables are, a thousandth of the weights.
    assert found["float"] < weights / 100
    print(f"{depth} blocks, {vision}: {record.build_seconds} s, {record.size_bytes / 1e6:.1f} MB")


def test_the_noise_is_no_constant(two_blocks: Checkpoint) -> None:
    """Equal rows would compress to nothing, and prove nothing."""
    rows = two_blocks.tensor("visual.blocks.0.mlp.down_proj.weight")
    assert len(np.unique(rows[:512], axis=0)) == 512
