"""A vision side in INT8 but for some modules: which there are, and that those compute in float."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import PAIR_IMAGES, PREPROCESSOR, RECIPE, open_session, tiny_checkpoint

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.checkpoint import Checkpoint, open_checkpoint
from adcopilot_edge.export.mixed import check_modules, int8_modules, module_of
from adcopilot_edge.export.precision import vision_style
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.vision import write_vision_graph

pytestmark = pytest.mark.torch

INT8 = ExportRecipe(image_height=56, image_width=84, vision="int8")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint"))


@pytest.fixture(scope="module")
def features(checkpoint, tmp_path_factory):
    """The tower's features with some modules kept, or in float."""
    patches = PREPROCESSOR.patches(PAIR_IMAGES[0][1])

    def run(recipe: ExportRecipe) -> np.ndarray:
        path = tmp_path_factory.mktemp("graph") / "vision.onnx"
        style = vision_style(recipe)
        _, rows, columns = PREPROCESSOR.grid
        write_vision_graph(
            path, checkpoint, grid=(rows, columns), form=style.form, dialect=style.dialect
        )
        return open_session(path).run(["features"], {"patches": patches})[0]

    return run


def test_modules_stand_in_the_order_of_computing(checkpoint: Checkpoint) -> None:
    modules = int8_modules(checkpoint, INT8)
    assert modules[:3] == ("visual.patch_embed", "visual.blocks.0.attn", "visual.blocks.0.mlp")
    assert "visual.merger.mlp" in modules
    assert modules[-1].startswith("visual.compare_visual_encoder.")
    assert not any("anomaly_map" in module for module in modules)


def test_what_tensorrt_leaves_in_float_is_no_module(checkpoint: Checkpoint) -> None:
    recipe = ExportRecipe(
        image_height=56, image_width=84, target="tensorrt", vision="int8", llm="int4"
    )
    modules = int8_modules(checkpoint, recipe)
    assert len(modules) == 2 * RECIPE.vision_depth + 6
    for left_out in ("patch_embed", "merger", "projector"):
        assert not any(left_out in module for module in modules)


def test_the_projector_is_a_module_of_its_own() -> None:
    name = "visual.compare_visual_encoder.compare_projector"
    assert module_of(name) == name
    assert module_of("visual.blocks.7.attn.qkv") == "visual.blocks.7.attn"


def test_all_kept_is_float(checkpoint: Checkpoint, features) -> None:
    floats = features(ExportRecipe(image_height=56, image_width=84))
    kept = int8_modules(checkpoint, INT8)
    everything = ExportRecipe(image_height=56, image_width=84, vision="int8", kept=kept)
    np.testing.assert_array_equal(features(everything), floats)


def test_keeping_a_module_brings_the_features_nearer(checkpoint: Checkpoint, features) -> None:
    floats = features(ExportRecipe(image_height=56, image_width=84))
    modules = int8_modules(checkpoint, INT8)
    errors = []
    for count in (0, 4, len(modules)):
        recipe = ExportRecipe(image_height=56, image_width=84, vision="int8", kept=modules[:count])
        errors.append(np.abs(features(recipe) - floats).max())
    assert errors[0] > errors[1] > errors[2] == 0


def test_a_module_that_is_none(checkpoint: Checkpoint) -> None:
    with pytest.raises(ConfigError, match=r"no INT8 module visual\.blocks\.99\.mlp"):
        check_modules(["visual.blocks.99.mlp"], int8_modules(checkpoint, INT8))


def test_only_int8_keeps_modules() -> None:
    with pytest.raises(ConfigError, match="only where the vision side is in int8"):
        ExportRecipe(image_height=56, image_width=84, kept=("visual.merger.mlp",))
