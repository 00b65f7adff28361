"""What a bundle says of its checkpoint, and what a recipe refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny import RECIPE as TINY
from tiny import tiny_checkpoint

from adcopilot_edge.errors import CheckpointError, ConfigError, UnsupportedModelError
from adcopilot_edge.export.checkpoint import open_checkpoint
from adcopilot_edge.export.describe import (
    describe_model,
    find_tokens,
    read_preprocessing,
    read_tokenizer,
)
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.words import parse_image_size
from adcopilot_edge.prompt import DEFAULT_PROMPT
from adcopilot_edge.runtime.preprocess import CLIP_MEAN, CLIP_STD

pytestmark = pytest.mark.torch

RECIPE = ExportRecipe(image_height=448, image_width=224)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "checkpoint")


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_the_shapes_are_the_checkpoints(original: Path) -> None:
    model = describe_model(open_checkpoint(original), RECIPE)
    assert (model.image_height, model.image_width) == (448, 224)
    assert model.grid == (32, 16)
    assert (model.vision_width, model.hidden_size) == (TINY.vision_width, TINY.hidden_size)
    assert (model.num_layers, model.num_heads, model.num_kv_heads) == (2, 4, 2)
    assert model.mrope_section == TINY.mrope_section
    assert model.compare_position_mode == "diagonal"
    assert model.has_anomaly_map


@pytest.mark.parametrize(
    ("height", "wanted", "length"),
    [
        (224, None, 2048),  # the default
        (224, 1000, 1000),
        (560, None, 2048),  # 2 * (400 + 6) + 512 = 1324 still fits
    ],
)
def test_the_sequence_is_long_enough(
    original: Path, height: int, wanted: int | None, length: int
) -> None:
    recipe = ExportRecipe(image_height=height, image_width=height, max_sequence_length=wanted)
    assert describe_model(open_checkpoint(original), recipe).max_sequence_length == length


def test_a_larger_image_gets_a_longer_sequence(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 128_000
    (folder / "config.json").write_text(json.dumps(config))
    recipe = ExportRecipe(image_height=1036, image_width=1036)
    model = describe_model(open_checkpoint(folder), recipe)
    assert model.max_sequence_length == 2 * (37 * 37 + 6) + 512


@pytest.mark.parametrize("wanted", [500, 4096])
def test_a_sequence_that_does_not_fit_is_refused(original: Path, wanted: int) -> None:
    recipe = ExportRecipe(image_height=224, image_width=224, max_sequence_length=wanted)
    with pytest.raises(ConfigError, match=f"max_sequence_length is {wanted}"):
        describe_model(open_checkpoint(original), recipe)


def test_the_tokens_are_the_tokenizers(original: Path) -> None:
    checkpoint = open_checkpoint(original)
    tokenizer = read_tokenizer(checkpoint)
    tokens = find_tokens(checkpoint, tokenizer, DEFAULT_PROMPT)
    assert tokenizer.id_to_token(tokens.image) == "<|image_pad|>"
    assert {tokenizer.id_to_token(token) for token in tokens.end} == {"<|im_end|>", "<|endoftext|>"}
    assert tokenizer.decode([tokens.yes, tokens.no]) == "AB"


def test_an_answer_may_also_end_as_the_checkpoint_says(folder: Path) -> None:
    change(folder / "generation_config.json", eos_token_id=[7, 9])
    checkpoint = open_checkpoint(folder)
    assert {7, 9} < set(find_tokens(checkpoint, read_tokenizer(checkpoint), DEFAULT_PROMPT).end)


def test_a_letter_of_several_tokens_is_refused(original: Path) -> None:
    checkpoint = open_checkpoint(original)
    prompt = DEFAULT_PROMPT.model_copy(update={"yes": "certainly"})
    with pytest.raises(UnsupportedModelError, match="'certainly' must be one token"):
        find_tokens(checkpoint, read_tokenizer(checkpoint), prompt)


def test_a_placeholder_at_odds_with_the_config_is_refused(folder: Path) -> None:
    change(folder / "config.json", image_token_id=5)
    checkpoint = open_checkpoint(folder)
    with pytest.raises(UnsupportedModelError, match="image_token_id is 5"):
        find_tokens(checkpoint, read_tokenizer(checkpoint), DEFAULT_PROMPT)


def test_a_missing_or_broken_tokenizer_is_named(folder: Path) -> None:
    checkpoint = open_checkpoint(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is no tokenizer"):
        read_tokenizer(checkpoint)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="Save the tokenizer"):
        read_tokenizer(checkpoint)


def test_preprocessing_is_read_from_either_file(folder: Path) -> None:
    checkpoint = open_checkpoint(folder)
    assert read_preprocessing(checkpoint).image_mean == CLIP_MEAN
    settings = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    change(folder / "processor_config.json", image_processor=settings)
    assert read_preprocessing(checkpoint).image_mean == (0.5, 0.5, 0.5)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.4, 0.4, 0.4]}))
    assert read_preprocessing(checkpoint).image_mean == (0.4, 0.4, 0.4)
    assert read_preprocessing(checkpoint).image_std == CLIP_STD
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").unlink()
    assert read_preprocessing(checkpoint).image_mean == CLIP_MEAN


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_height": 100}, "image_height must be a positive multiple of 28, got 100"),
        ({"image_width": 0}, "image_width"),
        ({"target": "npu"}, "target must be one of cpu, cuda, tensorrt, got 'npu'"),
        ({"target": "cuda"}, "llm must be one of int4, int8, fp16 for the target 'cuda'"),
        ({"vision": "fp16"}, "vision must be one of fp32, int8"),
        ({"llm": "fp16"}, "llm must be one of fp32, int8, int4"),
        ({"block_size": 24}, "one of 16, 32, 64, 128, 256 or 'row', got 24"),
        ({"block_size": 8}, "block_size must be one of"),
        ({"max_sequence_length": 0}, "max_sequence_length must be at least 1"),
        ({"num_parity_pairs": 0}, "num_parity_pairs"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
    ],
)
def test_a_recipe_refuses(changes: dict[str, object], message: str) -> None:
    settings: dict[str, object] = {"image_height": 224, "image_width": 224, **changes}
    with pytest.raises(ConfigError, match=message):
        ExportRecipe(**settings)  # type: ignore[arg-type]


def test_the_head_has_more_bits_than_the_layers() -> None:
    recipe = ExportRecipe(image_height=224, image_width=224, llm="int4")
    assert recipe.decoder_form().precision == "int4"
    assert recipe.head_form.precision == "int8"


@pytest.mark.parametrize(
    ("text", "size"), [("224", (224, 224)), ("448x560", (448, 560)), ("28x1008", (28, 1008))]
)
def test_image_sizes_are_height_first(text: str, size: tuple[int, int]) -> None:
    assert parse_image_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "224x", "x224", "224X224", "-28", "22.4", "1x2x3"])
def test_other_image_sizes_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="448x560"):
        parse_image_size(text)
