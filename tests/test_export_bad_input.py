"""What ``export`` refuses: the message, the exit code, and that nothing half-written stays."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import edit_json, edit_tensors, shard, tiny_checkpoint

from adcopilot_edge.cli import main
from adcopilot_edge.export.decoder import write_decoder_graph

pytestmark = pytest.mark.torch

WEIGHTS = "model.safetensors"
Refuse = Callable[..., str]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A checkpoint that a test may damage."""
    return Path(shutil.copytree(original, tmp_path / "checkpoint"))


@pytest.fixture
def refuse(folder: Path, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Export the checkpoint in vain, and find no trace; returns what was said."""

    def run(code: int, *words: object, kind: str) -> str:
        out = folder.parent / "bundle"
        before = sorted(folder.parent.rglob("*"))
        command = ["export", folder, "--out", out, "--image-size", "56", "--json", *words]
        with pytest.raises(SystemExit) as stopped:
            main([str(word) for word in command])
        printed, said = capsys.readouterr()
        assert stopped.value.code == code
        assert json.loads(printed)["error"]["kind"] == kind
        assert sorted(folder.parent.rglob("*")) == before
        return said

    return run


def fill(name: str, value: float) -> Callable[[Path], None]:
    """Damage of one value of a tensor."""

    def damage(folder: Path) -> None:
        edit_tensors(folder / WEIGHTS, lambda tensors: tensors[name].view(-1)[3:4].fill_(value))

    return damage


def misfit(folder: Path) -> None:
    def edit(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["visual.blocks.1.norm2.weight"]
        del tensors["model.layers.0.mlp.up_proj.weight"]
        tensors["visual.merger.ln_q.weight"] = torch.ones(65)
        tensors["model.norm.weight"] = torch.ones(64, dtype=torch.int8)
        tensors["model.layers.1.self_attn.q_norm.weight"] = torch.ones(16)

    edit_tensors(folder / WEIGHTS, edit)


def lose_shard(folder: Path) -> None:
    shard(folder, 3)[1].unlink()


def lose_tensor(folder: Path) -> None:
    edit_tensors(shard(folder)[0], lambda tensors: tensors.popitem())


def cut(keep: float) -> Callable[[Path], None]:
    """Damage of a shard that ends too early."""

    def damage(folder: Path) -> None:
        path = shard(folder)[1]
        os.truncate(path, int(keep * path.stat().st_size))

    return damage


@pytest.mark.parametrize(
    ("damage", "kind", "said"),
    [
        pytest.param(
            lambda folder: edit_json(folder / "config.json", model_type="llava"),
            "UnsupportedModelError",
            ["model_type 'llava'", "ad_copilot, yangjian, qwen2_5_vl"],
            id="unknown model_type",
        ),
        pytest.param(
            lambda folder: (folder / "config.json").write_text("{"),
            "CheckpointError",
            ["config.json can't be read as JSON"],
            id="config.json cut",
        ),
        pytest.param(
            misfit,
            "CheckpointError",
            [
                "visual.blocks.1.norm2.weight is missing",
                "language_model.layers.0.mlp.up_proj.weight is missing",
                "visual.merger.ln_q.weight has shape (65,), not (64,)",
                "language_model.norm.weight is of type I8",
                "q_norm.weight is a tensor that config.json gives no place to",
            ],
            id="tensors that do not fit",
        ),
        pytest.param(
            fill("visual.blocks.2.norm1.weight", torch.nan),
            "CheckpointError",
            ["tensor visual.blocks.2.norm1.weight", "holds NaN or infinity"],
            id="NaN in the vision tower",
        ),
        pytest.param(
            fill("visual.compare_visual_encoder.query_embeddings", torch.nan),
            "CheckpointError",
            ["tensor visual.compare_visual_encoder.query_embeddings", "holds NaN or infinity"],
            id="NaN in the Comparison Encoder",
        ),
        pytest.param(
            fill("model.layers.1.mlp.down_proj.weight", -torch.inf),
            "CheckpointError",
            ["tensor model.layers.1.mlp.down_proj.weight", "holds NaN or infinity"],
            id="infinity in the decoder",
        ),
        pytest.param(
            fill("model.embed_tokens.weight", torch.inf),
            "CheckpointError",
            ["tensor model.embed_tokens.weight", "holds NaN or infinity"],
            id="infinity in the embedding table",
        ),
        pytest.param(
            cut(0.9),
            "CheckpointError",
            ["model-2-of-2.safetensors can't be read", "It may be cut short"],
            id="shard cut in its values",
        ),
        pytest.param(
            cut(0.001),
            "CheckpointError",
            ["model-2-of-2.safetensors can't be read", "It may be cut short"],
            id="shard cut in its header",
        ),
        pytest.param(
            lose_shard,
            "CheckpointError",
            ["lacks model-2-of-3.safetensors", "Download or copy it again"],
            id="shard lost",
        ),
        pytest.param(
            lose_tensor,
            "CheckpointError",
            ["model.safetensors.index.json names tensors that the files lack", "model-1-of-2"],
            id="tensor of the index lost",
        ),
    ],
)
def test_a_damaged_checkpoint(
    refuse: Refuse, folder: Path, damage: Callable[[Path], object], kind: str, said: list[str]
) -> None:
    damage(folder)
    printed = refuse(4, kind=kind)
    for words in said:
        assert words in printed


def test_a_shard_that_is_lost_while_it_is_read(
    refuse: Refuse, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_without_shard(*arguments: Any, **settings: Any) -> None:
        (folder / WEIGHTS).rename(folder / "elsewhere")
        try:
            write_decoder_graph(*arguments, **settings)
        finally:
            (folder / "elsewhere").rename(folder / WEIGHTS)

    monkeypatch.setattr("adcopilot_edge.export.graphs.write_decoder_graph", write_without_shard)
    assert "model.safetensors can't be read" in refuse(4, kind="CheckpointError")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--image-size", "100"], "multiple of 28"),
        (["--image-size", "2240"], "Choose a smaller image size"),
        (["--max-ram", "300M"], "needs at least 0."),
        (["--revision", "main"], "is read as a folder"),
    ],
)
def test_a_setting_that_does_not_fit(refuse: Refuse, words: list[str], said: str) -> None:
    assert said in refuse(2, *words, kind="ConfigError")


def test_a_folder_that_is_not_empty_stays_as_it_is(refuse: Refuse, folder: Path) -> None:
    out = folder.parent / "bundle"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert "is no bundle; choose another folder" in refuse(2, kind="ConfigError")
    assert (out / "notes.txt").read_text() == "mine"
