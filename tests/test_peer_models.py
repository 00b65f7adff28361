"""What the peers of a bench are given is the checkpoint's language model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_checkpoint

from adcopilot_edge.export.checkpoint import Checkpoint, open_checkpoint

pytest.importorskip("gguf")
import gguf
from gguf.quants import dequantize
from peer_models import as_qwen2, gguf_name, write_gguf

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(tiny_checkpoint(tmp_path_factory.mktemp("peers") / "checkpoint"))


def test_gguf_holds_every_tensor_of_the_language_model(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    write_gguf(checkpoint, tmp_path / "model.gguf")
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    found = {one.name: dequantize(one.data, one.tensor_type) for one in reader.tensors}
    language = [name for name in checkpoint.entries if name.startswith("language_model.")]
    assert len(found) == len(language)
    for name in language:
        theirs = gguf_name(name)
        assert theirs is not None
        np.testing.assert_array_equal(found[theirs], checkpoint.tensor(name))
    names = gguf.TensorNameMap(gguf.MODEL_ARCH.QWEN2VL, checkpoint.language.num_layers)
    known = {name for kind, name in names.mapping.values()}
    assert {name.rpartition(".")[0] for name in found} <= known


def test_vision_is_not_part_of_it() -> None:
    assert gguf_name("visual.blocks.0.attn.qkv.weight") is None


def test_qwen2_reads_the_same_files(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = as_qwen2(checkpoint, tmp_path / "qwen2")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    opened = open_checkpoint(folder)
    assert opened.model_type == "qwen2"
    ours, theirs = checkpoint.language, opened.language
    assert (theirs.hidden_size, theirs.num_layers) == (ours.hidden_size, ours.num_layers)
    assert theirs.rope_theta == ours.rope_theta
    assert opened.head_name == checkpoint.head_name
    assert opened.files[1].resolve() == checkpoint.files[1].resolve()
