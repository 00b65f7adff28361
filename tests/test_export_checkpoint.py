"""Reading a checkpoint: its spellings, and what is refused before anything is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import edit_tensors, shard, tiny_checkpoint

from adcopilot_edge.errors import CheckpointError, UnsupportedModelError
from adcopilot_edge.export.checkpoint import open_checkpoint
from adcopilot_edge.export.layout import check_layout

pytestmark = pytest.mark.torch

NORM = "language_model.norm.weight"


def edit_config(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_checkpoint(tmp_path / "checkpoint")


def test_both_prefixes_give_the_same_names(folder: Path, tmp_path: Path) -> None:
    other = tiny_checkpoint(tmp_path / "memory", prefix="memory")
    assert set(open_checkpoint(folder).entries) == set(open_checkpoint(other).entries)


@pytest.mark.parametrize("model_type", ["ad_copilot", "yangjian"])
def test_both_names_of_the_model_open(folder: Path, model_type: str) -> None:
    edit_config(folder, lambda content: content.update(model_type=model_type))
    check_layout(open_checkpoint(folder))


def test_shards_read_as_one_file(folder: Path) -> None:
    whole = open_checkpoint(folder)
    expected = {name: whole.tensor(name) for name in whole.entries}
    shard(folder)
    sharded = open_checkpoint(folder)
    assert set(sharded.entries) == set(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(sharded.tensor(name), tensor)


def test_chunks_are_the_tensor_in_order(folder: Path) -> None:
    checkpoint, name = open_checkpoint(folder), "language_model.embed_tokens.weight"
    chunks = list(checkpoint.chunks(name, 100))
    assert max(map(len, chunks)) == 100
    np.testing.assert_array_equal(np.concatenate(chunks), checkpoint.tensor(name))


def test_a_missing_and_a_misshapen_tensor_are_both_named(folder: Path) -> None:
    def edit(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["visual.merger.ln_q.weight"]
        tensors["model.norm.weight"] = torch.ones(3)

    edit_tensors(folder / "model.safetensors", edit)
    with pytest.raises(CheckpointError) as caught:
        check_layout(open_checkpoint(folder))
    assert "visual.merger.ln_q.weight is missing" in str(caught.value)
    assert f"{NORM} has shape (3,), not (64,)" in str(caught.value)


def test_a_long_list_of_findings_is_cut(folder: Path) -> None:
    edit_tensors(
        folder / "model.safetensors",
        lambda tensors: [tensors.pop(name) for name in list(tensors)[:30]],
    )
    with pytest.raises(CheckpointError, match=r"and \d+ more"):
        check_layout(open_checkpoint(folder))


def test_nan_is_refused_where_it_is_read(folder: Path) -> None:
    edit_tensors(
        folder / "model.safetensors", lambda tensors: tensors["model.norm.weight"].fill_(torch.nan)
    )
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight .* NaN"):
        open_checkpoint(folder).tensor(NORM)


def test_a_cut_file_is_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors can't be read"):
        open_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        open_checkpoint(folder)


def test_another_family_is_refused(folder: Path) -> None:
    edit_config(folder, lambda content: content.update(model_type="llava"))
    with pytest.raises(UnsupportedModelError, match="'llava'"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("part", "change", "word"),
    [
        (None, {"sequence_compare": False}, "sequence_compare"),
        ("text_config", {"hidden_act": "gelu"}, "hidden_act"),
        ("vision_config", {"hidden_act": "gelu"}, "hidden_act"),
        ("vision_config", {"in_channels": 1}, "in_channels"),
        (
            "text_config",
            {"layer_types": ["full_attention", "sliding_attention"]},
            "sliding window",
        ),
    ],
)
def test_a_setting_that_no_graph_stands_for_is_refused(
    folder: Path, part: str | None, change: dict[str, Any], word: str
) -> None:
    def edit(content: dict[str, Any]) -> None:
        (content if part is None else content[part]).update(change)

    edit_config(folder, edit)
    with pytest.raises(UnsupportedModelError, match=word):
        check_layout(open_checkpoint(folder))
