"""A merged checkpoint: the adapter's outputs, the checkpoint's names, types and settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tiny import edit_tensors, save_tiny, tiny_config, tiny_model

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.adapter import merge_adapter
from adcopilot_edge.export.checkpoint import open_checkpoint
from adcopilot_edge.export.merged import write_merged
from adcopilot_edge.training.base import load_base
from adcopilot_edge.training.lora import add_adapters, merged_state, save_adapter
from adcopilot_edge.training.lora_recipe import LoraRecipe
from adcopilot_edge.training.recipe import BaseRecipe

pytestmark = pytest.mark.torch

LORA = LoraRecipe(parts=("tower", "queries", "language"), rank=2, alpha=6)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, torch.Tensor]]:
    """A checkpoint, an adapter, and the tensors that the two together have."""
    root = tmp_path_factory.mktemp("merge")
    model = tiny_model(tiny_config(is_tied=False))
    base = save_tiny(root / "base", model)
    add_adapters(model, LORA)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.copy_(0.3 * torch.randn_like(parameter) / parameter[0].numel() ** 0.5)
    save_adapter(root / "adapter", model.state_dict(), LORA)
    return base, root / "adapter", merged_state(model.state_dict(), LORA)


def stored(folder: Path) -> dict[str, str]:
    """Types by name of all tensors of a folder."""
    types: dict[str, str] = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            types |= {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    return types


@pytest.mark.parametrize("shard_bytes", [1 << 30, 50_000])
def test_a_merged_checkpoint_is_the_model_with_its_adapter(
    tmp_path: Path, folders: tuple[Path, Path, dict[str, torch.Tensor]], shard_bytes: int
) -> None:
    base, adapter, expected = folders
    opened = open_checkpoint(base)
    out = tmp_path / "merged"
    written = write_merged(opened, merge_adapter(opened, adapter), out, shard_bytes=shard_bytes)
    assert written.num_tensors == len(opened.entries)
    assert 0 < written.num_merged < written.num_tensors
    assert (len(list(out.glob("*.safetensors"))) > 1) == (shard_bytes < 1 << 30)
    assert stored(out) == stored(base)
    model, _ = load_base(BaseRecipe(checkpoint=str(out)))
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.data, expected[name], rtol=0, atol=2e-6)
    assert open_checkpoint(out).entries.keys() == opened.entries.keys()


def test_the_types_of_the_checkpoint_are_kept(
    tmp_path: Path, folders: tuple[Path, Path, dict[str, torch.Tensor]]
) -> None:
    base, adapter, expected = folders
    half = save_tiny(tmp_path / "half", tiny_model(tiny_config(is_tied=False)))
    edit_tensors(
        half / "model.safetensors",
        lambda tensors: tensors.update(
            {name: tensor.bfloat16() for name, tensor in tensors.items() if "norm" not in name}
        ),
    )
    opened = open_checkpoint(half)
    out = tmp_path / "merged"
    write_merged(opened, merge_adapter(opened, adapter), out)
    assert stored(out) == stored(half)
    assert set(stored(out).values()) == {"F32", "BF16"}
    name = "model.language_model.layers.0.self_attn.q_proj.weight"
    found = torch.from_numpy(open_checkpoint(out).tensor(name.removeprefix("model.")))
    # Two roundings to bfloat16, 8 bits each: the checkpoint's and the sum's.
    torch.testing.assert_close(found, expected[name], rtol=2**-7, atol=2**-7)
    assert not torch.equal(found, torch.from_numpy(open_checkpoint(base).tensor(name[6:])))


def test_the_command_merges_and_writes_over_nothing(
    cli: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    folders: tuple[Path, Path, dict[str, torch.Tensor]],
) -> None:
    base, adapter, _ = folders
    out = tmp_path / "merged"
    code, text, _ = cli("merge", base, adapter, "--out", out, "--json")
    assert code == 0
    assert json.loads(text)["checkpoint"] == str(out)
    code, text, error = cli("merge", base, adapter, "--out", out)
    assert code == 2
    assert "exists already" in error
    assert not list(tmp_path.glob(".*"))


def test_a_type_that_is_no_float_is_refused(
    tmp_path: Path, folders: tuple[Path, Path, dict[str, torch.Tensor]]
) -> None:
    base = save_tiny(tmp_path / "odd", tiny_model(tiny_config(is_tied=False)))
    edit_tensors(
        base / "model.safetensors",
        lambda tensors: tensors.update({"lm_head.weight": tensors["lm_head.weight"].double()}),
    )
    opened = open_checkpoint(base)
    with pytest.raises(ConfigError, match=r"lm_head\.weight as F64"):
        write_merged(opened, opened, tmp_path / "merged")
