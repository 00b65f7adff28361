"""Types of defect: of the pixels and patches that train, and of the regions that are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.type_map import region_types
from adcopilot_edge.runtime.verify import verify_bundle
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.types import BBox, LabelledPair

NAMES = ("open", "short", "spur")
SIZE = 56  # 4 patches of 14 pixels along a side, 2 of them in a merge cell


def pair(boxes: tuple[BBox, ...], labels: tuple[str, ...], **changes: Any) -> LabelledPair:
    picture = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    return LabelledPair(
        name="p", category="c", golden=picture, test=picture, boxes=boxes, labels=labels, **changes
    )


@pytest.mark.torch
def test_a_pixel_has_the_type_of_its_smallest_box() -> None:
    from adcopilot_edge.training.targets import type_image

    mask = np.ones((SIZE, SIZE), dtype=np.bool_)
    mask[0, 0] = False
    boxes = ((10.0, 10.0, 20.0, 20.0), (0.0, 0.0, 40.0, 40.0), (50.0, 50.0, 56.0, 56.0))
    found = type_image(pair(boxes, ("spur", "open", "rust"), mask=mask), NAMES)
    assert found is not None
    assert found[15, 15] == 2
    assert found[5, 5] == 0
    assert (found[0, 0], found[45, 45], found[52, 52]) == (-1, -1, -1)
    assert type_image(pair((), (), is_unplaced=True), NAMES) is None


@pytest.mark.torch
def test_a_patch_has_the_type_of_most_of_its_pixels_in_the_processors_order() -> None:
    from adcopilot_edge.training.targets import patch_types

    types = np.full((SIZE, SIZE), -1, dtype=np.int64)
    types[0:4, 28:36] = 1  # patch (0, 2)
    types[0:2, 36:40] = 2  # fewer of them in the same patch
    types[55, 55] = 0  # patch (3, 3)
    expected = np.full(16, -1)
    expected[4] = 1  # the first patch of the second merge cell
    expected[15] = 0
    assert_array_equal(patch_types(types, patch_size=14, merge_size=2), expected)


def logits(*placed: tuple[int, int, int]) -> np.ndarray:
    """Of 4 x 4 patches that look like nothing, but for (row, column, type)."""
    values = np.zeros((4, 4, 3), dtype=np.float32)
    for row, column, number in placed:
        values[row, column, number] = 8.0
    return values


def types_of(values: np.ndarray, anomaly_map: np.ndarray, *boxes: BBox) -> list[str | None]:
    return region_types(values, anomaly_map, boxes, names=NAMES, height=SIZE, width=SIZE)


def test_each_region_has_the_type_of_its_own_patches() -> None:
    anomaly_map = np.zeros((8, 8), dtype=np.float32)
    anomaly_map[0:2, 0:2] = anomaly_map[6:8, 4:8] = 1.0
    values = logits((0, 0, 1), (3, 2, 2), (3, 3, 2))
    found = types_of(values, anomaly_map, (0.0, 0.0, 14.0, 14.0), (28.0, 42.0, 56.0, 56.0))
    assert found == ["short", "spur"]


def test_a_patch_counts_by_the_map() -> None:
    anomaly_map = np.full((4, 4), 0.1, dtype=np.float32)
    anomaly_map[1, 1] = 0.9
    values = logits((0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 2))
    assert types_of(values, anomaly_map, (0.0, 0.0, 28.0, 28.0)) == ["spur"]


def test_patches_that_do_not_agree_have_no_type() -> None:
    anomaly_map = np.ones((4, 4), dtype=np.float32)
    assert types_of(logits(), anomaly_map, (0.0, 0.0, 28.0, 28.0)) == [None]


@pytest.mark.parametrize("box", [(0.0, 0.0, 56.0, 56.0), (55.5, 55.5, 56.0, 56.0)])
def test_any_box_inside_the_image_has_patches(box: BBox) -> None:
    values = np.broadcast_to(logits((0, 0, 1))[0, 0], (4, 4, 3))
    quiet = np.zeros((4, 4), dtype=np.float32)
    assert types_of(values, quiet + 0.5, box) == ["short"]
    assert types_of(values, quiet, box) == [None]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny import tiny_checkpoint

    folder = tmp_path_factory.mktemp("types")
    return tiny_checkpoint(
        folder / "checkpoint", compare_map_types=NAMES, compare_patch_places=True
    )


@pytest.mark.torch
@pytest.mark.parametrize("vision", ["fp32", "int8"])
def test_a_bundle_names_the_regions_of_its_map(
    checkpoint: Path, tmp_path: Path, vision: Literal["fp32", "int8"]
) -> None:
    from adcopilot_edge.export.pipeline import export_bundle
    from adcopilot_edge.export.recipe import ExportRecipe

    recipe = ExportRecipe(image_height=112, image_width=112, vision=vision, max_new_tokens=4)
    pairs = [generate_pair(seed, size=112).to_labelled() for seed in range(2)]
    bundle = export_bundle(checkpoint, tmp_path / "out", recipe, pairs=pairs[:1])
    assert bundle.manifest.model.map_types == NAMES
    assert bundle.manifest.parity is not None
    assert "type_logits" in {stage.stage for stage in bundle.manifest.parity.stages}
    assert verify_bundle(bundle.path).first_failure is None
    inspector = Inspector.open(bundle.path)
    found = [
        defect
        for image in (pair.test for pair in pairs)
        for defect in inspector.inspect(pairs[0].golden, image, threshold=1e-6).defects
    ]
    assert found
    assert {defect.label for defect in found} <= {*NAMES, "defect"}


@pytest.mark.torch
def test_a_checkpoint_gets_other_types_and_keeps_all_else(checkpoint: Path) -> None:
    from adcopilot_edge.training.base import load_base
    from adcopilot_edge.training.recipe import BaseRecipe

    before, _ = load_base(BaseRecipe(checkpoint=str(checkpoint)))
    after, _ = load_base(BaseRecipe(checkpoint=str(checkpoint), compare_map_types=("rust", "dent")))
    assert list(after.config.vision.compare_map_types) == ["rust", "dent"]
    weights = after.state_dict()
    differ = [
        name
        for name, value in before.state_dict().items()
        if value.shape != weights[name].shape or not value.equal(weights[name])
    ]
    assert [name.rpartition("type_map.")[2] for name in differ] == ["weight", "bias"]


@pytest.mark.torch
def test_a_loss_of_types_needs_types(tmp_path: Path) -> None:
    from train_cases import tiny_recipe

    from adcopilot_edge.training.run import train
    from adcopilot_edge.training.stage_recipe import LossRecipe

    recipe = tiny_recipe(3, loss=LossRecipe(anomaly_map=1.0, map_types=1.0))
    with pytest.raises(ConfigError, match="tells no types apart"):
        train(recipe, tmp_path, workers=0)


@pytest.mark.torch
def test_a_loss_of_the_map_needs_a_map(tmp_path: Path) -> None:
    from train_cases import tiny_recipe

    from adcopilot_edge.training.run import train
    from adcopilot_edge.training.stage_recipe import LossRecipe

    recipe = tiny_recipe(3, loss=LossRecipe(verdict=1.0, anomaly_map=1.0))
    assert recipe.model is not None
    model = recipe.model.model_copy(update={"compare_anomaly_map": False})
    with pytest.raises(ConfigError, match="the model has no anomaly map"):
        train(recipe.model_copy(update={"model": model}), tmp_path, workers=0)
