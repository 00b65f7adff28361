"""All 32 blocks at full width, on every kind of image size: the tower of the released models."""

from __future__ import annotations

from pathlib import Path

import pytest
from full_shape import full_config, write_checkpoint

from adcopilot_edge.calibration.pairs import CalibrationPairs
from adcopilot_edge.export.pipeline import export_bundle
from adcopilot_edge.export.proof import synthetic_pairs
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.manifest import Manifest

pytestmark = [pytest.mark.torch, pytest.mark.slow]

MAX_RAM = 4 << 30


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vision side of a 3B model, with one layer of its language model and few tokens."""
    config = full_config("3b", layers=1, vocab_size=320)
    return write_checkpoint(tmp_path_factory.mktemp("full") / "checkpoint", config)


def errors(manifest: Manifest) -> dict[str, float]:
    assert manifest.parity is not None
    return {stage.stage: stage.error for stage in manifest.parity.stages}


@pytest.mark.parametrize(
    ("height", "width"), [(448, 448), (504, 504), (560, 728), (28, 1008)], ids=str
)
def test_float_graphs_are_the_tower(
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    height: int,
    width: int,
) -> None:
    recipe = ExportRecipe(
        image_height=height, image_width=width, num_parity_pairs=1, max_new_tokens=2
    )
    pairs = synthetic_pairs(height, width)
    bundle = export_bundle(checkpoint, tmp_path / "bundle", recipe, pairs=pairs, max_ram=MAX_RAM)
    found = errors(bundle.manifest)
    worst_block = max(error for stage, error in found.items() if stage.startswith("block_"))
    with capsys.disabled():
        print(
            f"\n{height}x{width}: worst block {worst_block:.2g}, features {found['features']:.2g}, "
            f"tokens {found['tokens']:.2g}, comparison {found['comparison_tokens']:.2g}"
        )
    assert sum(stage.startswith("block_") for stage in found) == 32
    assert max(worst_block, found["features"], found["tokens"]) <= 1e-4


def test_half_graphs_stay_near_in_emulation(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = ExportRecipe(
        image_height=224,
        image_width=224,
        target="tensorrt",
        vision="fp16",
        llm="int4",
        num_parity_pairs=1,
        max_new_tokens=2,
    )
    pairs = synthetic_pairs(224, 224)
    seen = CalibrationPairs("synthetic boards", [next(pairs), next(pairs)])
    bundle = export_bundle(
        checkpoint,
        tmp_path / "bundle",
        recipe,
        pairs=pairs,
        calibration=seen,
        max_ram=MAX_RAM,
    )
    found = errors(bundle.manifest)
    with capsys.disabled():
        print(f"\nfloat16 on the CPU: features {found['features']:.2g}")
        for graph in bundle.manifest.graphs.values():
            for module in graph.exact:
                print(f"  float32: {module.name}: {module.reason}")
    assert 1e-5 < found["features"] < 0.02
