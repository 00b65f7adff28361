"""LoRA adapters merged on the way: the same weights as peft's own merge, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file
from tiny import edit_json, edit_tensors, save_tiny, tiny_checkpoint, tiny_config, tiny_model

from adcopilot_edge.cli import main
from adcopilot_edge.errors import CheckpointError, ExportError, UnsupportedModelError
from adcopilot_edge.export import adapter as adapter_module
from adcopilot_edge.export.adapter import merge_adapter
from adcopilot_edge.export.checkpoint import Checkpoint, open_checkpoint
from adcopilot_edge.export.pipeline import export_bundle
from adcopilot_edge.export.proof import synthetic_pairs
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.tensors import our_name
from adcopilot_edge.training.synthetic import generate_pair

pytestmark = [
    pytest.mark.torch,
    # peft asks transformers by the name that its latest release is about to drop.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]

RECIPE = ExportRecipe(image_height=56, image_width=56, num_parity_pairs=1, max_new_tokens=8)
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PAIRS = [generate_pair(0, size=112).to_labelled()]
TARGETS = (
    r".*layers\.\d\.(self_attn\.(q|v)_proj|mlp\.down_proj)"  # the language model
    r"|.*blocks\.\d\.(attn\.qkv|mlp\.up_proj)|.*patch_embed\.proj"  # the vision tower
    r"|.*encoder_cross_attn1\.q_proj|.*compare_projector"  # the Comparison Encoder
)
LORA: dict[str, Any] = {"r": 4, "lora_alpha": 6, "target_modules": TARGETS}
Q_PROJ = "base_model.model.model.language_model.layers.0.self_attn.q_proj"


def train_lora(out: Path, **settings: Any) -> Any:
    """Save an adapter of the tiny model to ``out``; returns peft's merge of the two.

    Every trainable value is drawn anew: a fresh adapter changes nothing.
    """
    model = get_peft_model(tiny_model(tiny_config(is_tied=False)), LoraConfig(**LORA | settings))
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.3 * noise / parameter[0].numel() ** 0.5)
    model.save_pretrained(str(out))
    return model.merge_and_unload().eval()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint", is_tied=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """An adapter of every kind of module, and the model that peft merges it into."""
    folder = tmp_path_factory.mktemp("lora") / "adapter"
    return folder, train_lora(
        folder,
        rank_pattern={r"attn\.qkv": 8, "down_proj": 2},
        alpha_pattern={r"^model.language_model.layers.1.self_attn.q_proj": 16, "up_proj": 3.5},
        bias="lora_only",
        modules_to_save=["lm_head", "ln_q"],
    )


@pytest.fixture
def folder(trained: tuple[Path, Any], tmp_path: Path) -> Path:
    """An adapter that a test may change."""
    return Path(shutil.copytree(trained[0], tmp_path / "adapter"))


def assert_equal_weights(checkpoint: Checkpoint, model: Any) -> None:
    """Hold every tensor of ``checkpoint`` against the model's.

    A sum of at most 8 products of values below 3 is added in another order than torch does: a few
    units in the last place of float32, 2e-7 each.
    """
    expected = {our_name(name): tensor.numpy() for name, tensor in model.state_dict().items()}
    assert set(checkpoint.entries) == set(expected)
    for name, tensor in expected.items():
        np.testing.assert_allclose(checkpoint.tensor(name), tensor, rtol=0, atol=2e-6, err_msg=name)


def test_merged_weights_are_those_of_peft(base: Path, trained: tuple[Path, Any]) -> None:
    plain = open_checkpoint(base)
    merged = merge_adapter(plain, trained[0])
    assert_equal_weights(merged, trained[1])
    changed = {name for name in plain.entries if (plain.tensor(name) != merged.tensor(name)).any()}
    # 15 pairs of factors, the biases of 12 of these layers, the head and a norm.
    assert len(changed) == 29
    assert merged.sha256() == plain.sha256()


@pytest.mark.parametrize(
    "settings", [{}, {"use_rslora": True, "rank_pattern": {"q_proj": 8}}, {"bias": "all"}]
)
def test_each_kind_of_scale_is_that_of_peft(
    base: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    model = train_lora(tmp_path / "adapter", **settings)
    assert_equal_weights(merge_adapter(open_checkpoint(base), tmp_path / "adapter"), model)


def test_parts_of_a_merged_tensor_are_the_whole(
    base: Path, trained: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = merge_adapter(open_checkpoint(base), trained[0])
    name = "visual.blocks.0.attn.qkv.weight"
    whole = checkpoint.tensor(name)
    # Fewer rows a product may sum in another order: the last place of float32.
    chunks = np.concatenate(list(checkpoint.chunks(name, 50)))
    np.testing.assert_allclose(chunks, whole, rtol=0, atol=1e-6)
    np.testing.assert_allclose(checkpoint.rows(name, [3, 1]), whole[[3, 1]], rtol=0, atol=1e-6)
    monkeypatch.setattr(adapter_module, "_PIECE_VALUES", 640)
    np.testing.assert_allclose(checkpoint.tensor(name), whole, rtol=0, atol=1e-6)


def test_older_names_are_the_same_tensors(
    base: Path, trained: tuple[Path, Any], folder: Path
) -> None:
    """Transformers before 4.52 had ``model.layers`` and ``visual`` beside it."""

    def rename(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            old = name.replace(".model.model.language_model.", ".model.model.")
            tensors[old.replace(".model.model.visual.", ".model.visual.")] = tensors.pop(name)

    edit_tensors(folder / WEIGHTS, rename)
    edit_json(folder / CONFIG, alpha_pattern={"layers.1.self_attn.q_proj": 16, "up_proj": 3.5})
    assert_equal_weights(merge_adapter(open_checkpoint(base), folder), trained[1])


def test_half_precision_factors_are_merged_in_float32(base: Path, folder: Path) -> None:
    def halve(tensors: dict[str, torch.Tensor]) -> None:
        for name, tensor in tensors.items():
            tensors[name] = tensor.bfloat16()

    edit_tensors(folder / WEIGHTS, halve)
    plain = open_checkpoint(base)
    tensors = load_file(folder / WEIGHTS)
    up, down = (tensors[f"{Q_PROJ}.lora_{side}.weight"].float().numpy() for side in "BA")
    name = "language_model.layers.0.self_attn.q_proj.weight"
    expected = plain.tensor(name) + 6 / 4 * up @ down
    merged = merge_adapter(plain, folder).tensor(name)
    np.testing.assert_allclose(merged, expected, rtol=0, atol=1e-6)


def test_the_command_exports_what_peft_merges(
    base: Path, trained: tuple[Path, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, (adapter, model) = tmp_path / "bundle", trained
    words = ["export", str(base), "--adapter", str(adapter), "--out", str(out)]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--image-size", "56", "--parity-pairs", "1", "--json"])
    assert stopped.value.code == 0
    assert all(stage["passed"] for stage in json.loads(capsys.readouterr().out)["stages"])
    source = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["source"]
    assert (source["name"], source["adapter"]["name"]) == ("checkpoint", "adapter")
    assert source["sha256"] == open_checkpoint(base).sha256()
    by_peft = save_tiny(tmp_path / "merged", model)
    recipe = replace(RECIPE, max_new_tokens=64)
    export_bundle(by_peft, tmp_path / "expected", recipe, pairs=synthetic_pairs(56, 56))
    ours, theirs = (
        load_arrays(folder / "parity.safetensors") for folder in (out, tmp_path / "expected")
    )
    np.testing.assert_array_equal(ours["pair0/greedy_ids"], theirs["pair0/greedy_ids"])
    # Weights equal to 2e-6, through five layers, into logits of up to 10.
    np.testing.assert_allclose(ours["pair0/logits"], theirs["pair0/logits"], rtol=0, atol=2e-4)
    words = ["verify", str(out), "--reference", str(base), "--pairs", "1"]
    for more, code, message in (
        (["--adapter", str(adapter)], 0, ""),
        ([], 2, "made with the adapter adapter: say so with --adapter"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*words, *more])
        assert stopped.value.code == code
        assert message in capsys.readouterr().err


def test_an_export_does_not_go_on_with_another_adapter(
    base: Path, trained: tuple[Path, Any], folder: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    out, checkpoint = tmp_path / "out", open_checkpoint(base)
    edit_json(folder / CONFIG, lora_alpha=7)
    merged = merge_adapter(checkpoint, folder)
    whole = export_bundle(merged, tmp_path / "whole", RECIPE, pairs=PAIRS)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("adcopilot_edge.export.prepare.write_embedding", fail)
        patch.setattr("os.getpid", lambda: 2**22 + 1)  # a process that is gone by the next run
        with pytest.raises(ExportError, match="No space left"):
            export_bundle(merge_adapter(checkpoint, trained[0]), out, RECIPE, pairs=PAIRS)
    assert export_bundle(merged, out, RECIPE, pairs=PAIRS).id == whole.id


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "VERA"}, "peft_type is 'VERA'"),
        ({"use_dora": True}, "use_dora is set"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out is set"),
        ({"lora_bias": True}, "lora_bias is set"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices is set"),
        ({"layer_replication": [[0, 2], [0, 2]]}, "layer_replication is set"),
        ({"init_lora_weights": "pissa_niter_4"}, "'pissa_niter_4' changed the weights"),
        ({"use_dora": True, "use_qalora": True}, "use_dora is set; use_qalora is set"),
    ],
)
def test_other_arithmetic_is_refused(
    base: Path, folder: Path, changes: dict[str, Any], message: str
) -> None:
    edit_json(folder / CONFIG, **changes)
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        merge_adapter(open_checkpoint(base), folder)
    assert "merge_and_unload" in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [{"lora_alpha": "much"}, {"lora_alpha": float("nan")}, {"alpha_pattern": {"(": 1}}],
)
def test_a_config_that_makes_no_sense_is_refused(
    base: Path, folder: Path, changes: dict[str, Any]
) -> None:
    edit_json(folder / CONFIG, **changes)
    with pytest.raises(CheckpointError, match=r"adapter_config\.json is not valid"):
        merge_adapter(open_checkpoint(base), folder)


def test_all_that_does_not_fit_is_listed(base: Path, folder: Path) -> None:
    def edit(tensors: dict[str, torch.Tensor]) -> None:
        for side in "AB":
            name = f"{Q_PROJ.replace('layers.0', 'layers.9')}.lora_{side}.weight"
            tensors[name] = tensors[f"{Q_PROJ}.lora_{side}.weight"].clone()
        tensors[f"{Q_PROJ}.lora_A.weight"] = torch.ones(4, 63)
        del tensors[f"{Q_PROJ.replace('q_proj', 'v_proj')}.lora_A.weight"]
        down = f"{Q_PROJ.replace('layers.0', 'layers.1')}.lora_A.weight"
        tensors[down] = tensors[down].double()
        tensors["base_model.model.lm_head.weight"] = torch.ones(321, 64)
        tensors["base_model.model.score.weight"] = torch.ones(2, 64)
        tensors["base_model.model.model.visual.merger.ln_q.lora_magnitude_vector"] = torch.ones(64)

    edit_tensors(folder / WEIGHTS, edit)
    with pytest.raises(CheckpointError) as caught:
        merge_adapter(open_checkpoint(base), folder)
    for finding in (
        "adapter adapter does not fit checkpoint",
        "layers.9.self_attn.q_proj matches no tensor",
        "layers.0.self_attn.q_proj has factors (64, 4) and (4, 63) for a weight (64, 64)",
        "layers.0.self_attn.v_proj has lora_B and not its partner",
        "layers.1.self_attn.q_proj has factors of type F32, F64",
        "lm_head.weight has shape (321, 64), not (320, 64)",
        "score.weight matches no tensor",
        "lora_magnitude_vector is a factor of another kind",
    ):
        assert finding in str(caught.value)


def test_factors_that_were_saved_empty_do_not_fit(base: Path, folder: Path) -> None:
    """Sharded training leaves such files where the shards were not gathered."""

    def empty(tensors: dict[str, torch.Tensor]) -> None:
        tensors.update({name: torch.ones(0) for name in tensors if ".lora_" in name})

    edit_tensors(folder / WEIGHTS, empty)
    with pytest.raises(CheckpointError, match=r"has factors \(0,\) and \(0,\)"):
        merge_adapter(open_checkpoint(base), folder)


def test_an_adapter_without_tensors_is_refused(base: Path, folder: Path) -> None:
    edit_tensors(folder / WEIGHTS, lambda tensors: tensors.clear())
    with pytest.raises(CheckpointError, match="it holds no tensors"):
        merge_adapter(open_checkpoint(base), folder)


def test_one_tensor_of_two_uses_is_not_changed_for_one(tmp_path: Path, folder: Path) -> None:
    tied = open_checkpoint(tiny_checkpoint(tmp_path / "tied"))
    keys = ["lm_head.weight", "model.language_model.embed_tokens.weight"]

    def edit(tensors: dict[str, torch.Tensor]) -> None:
        tensors[f"base_model.model.{keys[1]}"] = tensors.pop(f"base_model.model.{keys[0]}")

    with pytest.raises(CheckpointError, match=r"lm_head\.weight matches no tensor"):
        merge_adapter(tied, folder)
    edit_tensors(folder / WEIGHTS, edit)
    with pytest.raises(CheckpointError, match="embedding table or the head, which are one"):
        merge_adapter(tied, folder)


def test_nan_is_refused_where_it_is_read(base: Path, folder: Path) -> None:
    name = f"{Q_PROJ}.lora_B.weight"
    edit_tensors(folder / WEIGHTS, lambda tensors: tensors[name].fill_(torch.nan))
    checkpoint = merge_adapter(open_checkpoint(base), folder)
    with pytest.raises(CheckpointError, match=rf"{name} in .*adapter_model.* NaN"):
        checkpoint.tensor("language_model.layers.0.self_attn.q_proj.weight")


@pytest.mark.parametrize("file", [CONFIG, WEIGHTS])
def test_a_failure_leaves_no_bundle(
    base: Path, folder: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    (folder / file).unlink()
    out = folder.parent / "bundle"
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(base), "--adapter", str(folder), "--out", str(out)])
    assert stopped.value.code == CheckpointError.exit_code
    assert file in capsys.readouterr().err
    assert list(folder.parent.iterdir()) == [folder]
