"""Where a run starts: a checkpoint of ours as it is, a stock model with a fresh encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from recipes import STAGE
from released import write_stock
from safetensors.torch import load_file, save_file
from tiny import RECIPE, edit_json, edit_tensors, tiny_checkpoint
from torch import Tensor

from adcopilot_edge.errors import CheckpointError, ConfigError
from adcopilot_edge.training.base import load_base, start_config
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.model_parts import part_of
from adcopilot_edge.training.recipe import BaseRecipe, load_recipe
from adcopilot_edge.training.stage_recipe import StageRecipe
from adcopilot_edge.training.stage_weights import loading_type

pytestmark = pytest.mark.torch

ADDED: dict[str, Any] = {
    "compare_token_size": 6,
    "compare_rope": True,
    "compare_anomaly_map": True,
}


def base(folder: Path, **changes: Any) -> BaseRecipe:
    return BaseRecipe(checkpoint=str(folder), **changes)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("stock"), is_stock=True, is_tied=False)


def test_a_stock_model_keeps_its_weights_and_gets_a_fresh_encoder(stock: Path) -> None:
    torch.manual_seed(0)
    model, processor = load_base(base(stock, **ADDED))
    plain = ADCopilotForConditionalGeneration.from_pretrained(
        stock, config=model.config, dtype="auto"
    )
    assert processor.compare_token_size == 6
    encoder = model.model.visual.compare_visual_encoder
    assert encoder is not None
    assert encoder.anomaly_map is not None
    # As from scratch: queries of unit size, the map's bias at the share of defective patches.
    assert 0.7 < float(encoder.query_embeddings.detach().std()) < 1.3
    assert encoder.anomaly_map.bias.item() == -3.5
    fresh = ("comparison", "queries")
    for (name, found), expected in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert (part_of(name) in fresh) or torch.equal(found, expected), name
    torch.manual_seed(0)
    again, _ = load_base(base(stock, **ADDED))
    assert all(
        torch.equal(one, other)
        for one, other in zip(model.parameters(), again.parameters(), strict=True)
    )


def test_the_files_of_the_published_stock_model_are_read(tmp_path: Path) -> None:
    model, processor = load_base(base(write_stock(tmp_path / "stock"), **ADDED))
    assert model.config.text.hidden_size == 64
    assert processor.image_processor.patch_size == 14
    # From the file: rows of 3136 to 12845056 pixels.
    assert processor.image_processor.size["longest_edge"] == 12_845_056


def are_equal(some: Sequence[Tensor], others: Sequence[Tensor]) -> list[bool]:
    return [torch.equal(one, other) for one, other in zip(some, others, strict=True)]


def added(folder: Path, name: str, **changes: Any) -> list[ADCopilotForConditionalGeneration]:
    """A checkpoint as it is and with the parameter ``name`` added by ``changes``."""
    before, _ = load_base(base(tiny_checkpoint(folder, compare_token_size=9)))
    after, _ = load_base(base(folder, **changes))
    assert after.state_dict().keys() - before.state_dict().keys() == {name}
    assert part_of(name) == "queries"
    return [before, after]


def tokens(model: ADCopilotForConditionalGeneration, count: int = 2) -> Sequence[Tensor]:
    """The tokens of the first images of a pair of two sizes."""
    grids = torch.tensor([[1, 4, 4], [1, 4, 6]])[:count]
    pixels = torch.randn(40, 3 * 2 * 14 * 14, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = model.model.get_image_features(pixels[: int(grids.prod(-1).sum())], grids)
    assert found.pooler_output is not None
    return found.pooler_output


def test_places_of_patches_are_added_without_a_change_of_any_token(tmp_path: Path) -> None:
    name = "model.visual.compare_visual_encoder.patch_places"
    before, after = added(tmp_path, name, compare_patch_places=True)
    assert are_equal(tokens(before), tokens(after)) == [True, True]
    with torch.no_grad():
        after.get_parameter(name).add_(0.1)
    assert are_equal(tokens(before), tokens(after)) == [False, False]
    # The first image is compared with itself, so the second one's padding does not matter to it.
    torch.testing.assert_close(tokens(after, 1)[0], tokens(after)[0])


def test_what_the_map_says_is_told_from_the_first_step_on(tmp_path: Path) -> None:
    name = "model.visual.compare_visual_encoder.told_map"
    before, after = added(tmp_path, name, compare_token_cells=2)
    assert 0.05 < float(after.get_parameter(name).detach().std()) < 0.2
    told = [other - one for one, other in zip(tokens(before), tokens(after), strict=True)]
    for image, cells in zip(told, (4, 6), strict=True):  # merged cells first, then the tokens
        assert not image[:cells].any()
        assert image[cells:].any(dim=1).all()
    torch.testing.assert_close(tokens(after, 1)[0], tokens(after)[0])


def test_a_checkpoint_of_ours_comes_as_it_is(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path)
    model, processor = load_base(base(folder))
    assert model.config.vision.compare_token_size == RECIPE.compare_token_size
    assert processor.compare_token_size == RECIPE.compare_token_size
    with pytest.raises(ConfigError, match="already; leave out compare_token_size"):
        load_base(base(folder, compare_token_size=6))


def test_a_stock_model_needs_to_be_told_the_number_of_tokens(stock: Path) -> None:
    with pytest.raises(ConfigError, match="compare_token_size = 100"):
        load_base(base(stock))


def test_what_is_no_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="Train the stage before first"):
        load_base(base(tmp_path / "runs" / "stage0" / "checkpoint"))
    edit = tiny_checkpoint(tmp_path / "other")
    edit_json(edit / "config.json", model_type="llama")
    with pytest.raises(ConfigError, match="llama"):
        load_base(base(edit))


def test_a_checkpoint_of_two_types_loses_no_digit(tmp_path: Path) -> None:
    """What learned is stored in float32 and what was frozen in bfloat16, as a stage leaves them."""
    folder = tiny_checkpoint(tmp_path)
    stored = load_file(folder / "model.safetensors")
    mixed = {
        name: tensor if "compare_visual_encoder" in name else tensor.bfloat16()
        for name, tensor in stored.items()
    }
    save_file(mixed, folder / "model.safetensors", metadata={"format": "pt"})
    edit_json(folder / "config.json", dtype="bfloat16")
    full = StageRecipe.model_validate(STAGE)
    adapters = StageRecipe.model_validate({**STAGE, "trains": [], "lora": {"parts": ["language"]}})
    assert loading_type(folder, full) == torch.float32
    assert loading_type(folder, adapters) == "auto"
    model, _ = load_base(base(folder), full)
    (name,) = (name for name in stored if name.endswith("query_embeddings"))
    found = model.model.visual.compare_visual_encoder
    assert found is not None
    assert torch.equal(found.query_embeddings, stored[name])


def test_a_stage_in_float32_begins_in_it(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path)
    halves = {
        name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()
    }
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    edit_json(folder / "config.json", dtype="float16")
    model, _ = load_base(base(folder), StageRecipe.model_validate({**STAGE, "precision": "fp32"}))
    assert {value.dtype for value in model.parameters()} == {torch.float32}


def test_a_folder_has_no_revisions(stock: Path) -> None:
    with pytest.raises(ConfigError, match="has no revision 'main'"):
        load_base(base(stock, revision="main", **ADDED))
    with pytest.raises(ConfigError, match="embedded is read as a folder"):
        load_base(BaseRecipe(checkpoint="embedded", revision="main"))


def test_a_checkpoint_that_was_cut_short_is_said(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path)
    with (folder / "model.safetensors").open("r+b") as stream:
        stream.truncate(1000)
    for stage in (None, StageRecipe.model_validate(STAGE)):
        with pytest.raises(CheckpointError, match="can't be loaded"):
            load_base(base(folder), stage)


def test_a_checkpoint_that_lacks_tensors_is_refused(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path)
    edit_tensors(
        folder / "model.safetensors", lambda tensors: tensors.pop("visual.merger.ln_q.weight")
    )
    with pytest.raises(CheckpointError, match=r"merger\.ln_q"):
        load_base(base(folder))


def test_the_published_shape_has_the_published_number_of_parameters(tmp_path: Path) -> None:
    recipe = load_recipe("nano").model_copy(
        update={"model": None, "base": base(tmp_path / "none", shape="ad-copilot-7b")}
    )
    with torch.device("meta"):
        model = ADCopilotForConditionalGeneration(start_config(recipe))
    assert sum(item.numel() for item in model.parameters()) == 8_355_968_000
