"""What the package brings: its checkpoint has a name, and its bundle was made from it."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.cli import app
from adcopilot_edge.embedded import EMBEDDED, embedded_bundle, embedded_checkpoint
from adcopilot_edge.errors import CheckpointError, ConfigError
from adcopilot_edge.export.checkpoint import open_checkpoint
from adcopilot_edge.training.base import base_config, load_base
from adcopilot_edge.training.recipe import BaseRecipe, load_recipe
from adcopilot_edge.training.stage_model import start_stage

MEGABYTE = 1_000_000

pytestmark = pytest.mark.torch


def test_the_bundle_was_exported_from_the_checkpoint() -> None:
    source = open_bundle(embedded_bundle()).manifest.source
    checkpoint = open_checkpoint(EMBEDDED)
    assert (source.name, source.sha256) == (checkpoint.path.name, checkpoint.sha256())


def test_both_are_small_enough_to_be_brought() -> None:
    for folder, most in ((embedded_bundle(), 16), (embedded_checkpoint(), 10)):
        size = sum(path.stat().st_size for path in folder.iterdir())
        assert 1 * MEGABYTE < size < most * MEGABYTE


def test_training_starts_from_it_in_float32() -> None:
    recipe = load_recipe("finetune")
    assert recipe.base is not None
    assert recipe.base.checkpoint == EMBEDDED
    model, processor = load_base(recipe.base, recipe.stages[0])
    start_stage(model, recipe.stages[0], is_from_checkpoint=True)
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    manifest = open_bundle(embedded_bundle()).manifest
    assert tuple(model.config.vision.compare_map_types) == manifest.model.map_types
    assert processor.tokenizer.convert_tokens_to_ids("<|image_pad|>") == manifest.tokens.image


def test_it_has_no_revisions() -> None:
    with pytest.raises(ConfigError, match="has no revision 'main'"):
        open_checkpoint(EMBEDDED, revision="main")


def test_a_folder_of_that_name_is_meant_where_there_is_one(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / EMBEDDED).mkdir()
    with pytest.raises(CheckpointError, match=r"config\.json"):
        open_checkpoint(EMBEDDED)
    with pytest.raises(CheckpointError, match=r"embedded .*config\.json"):
        base_config(BaseRecipe(checkpoint=EMBEDDED))


def test_export_plans_it_by_its_name(tmp_path) -> None:
    result = CliRunner().invoke(
        app, ["export", EMBEDDED, "--out", str(tmp_path / "bundle"), "--dry-run"]
    )
    assert result.exit_code == 0, result.output
    assert "comparison.onnx.data" in result.output
    assert not (tmp_path / "bundle").exists()
