"""What the manifest says of a checkpoint: shapes, preprocessing, token ids, tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from adcopilot_edge.errors import CheckpointError, ConfigError, UnsupportedModelError
from adcopilot_edge.export.checkpoint import Checkpoint, read_json
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.manifest import ModelSpec, Preprocessing, Tokens
from adcopilot_edge.prompt import END_OF_TURN, IMAGE_TOKEN, PromptTemplate
from adcopilot_edge.runtime.preprocess import CLIP_MEAN, CLIP_STD

TOKENIZER_FILE = "tokenizer.json"
_PAD_TOKEN = "<|endoftext|>"
# Room for the words of the prompt, a question and an answer, beside the tokens of the two images.
_TEXT_TOKENS = 512
_DEFAULT_SEQUENCE = 2048


@dataclass(frozen=True, slots=True)
class Description:
    """What stands in a manifest before any graph is written: enough to ask the model itself."""

    model: ModelSpec
    preprocessing: Preprocessing
    tokens: Tokens
    prompt: PromptTemplate


def describe(checkpoint: Checkpoint, recipe: ExportRecipe, prompt: PromptTemplate) -> Description:
    """The description of ``checkpoint``, asked in the words of ``prompt``.

    Raises:
        ConfigError: The two images do not fit into the sequence.
        CheckpointError: The tokenizer is missing or damaged.
        UnsupportedModelError: The tokenizer does not fit the prompt.
    """
    return Description(
        model=describe_model(checkpoint, recipe),
        preprocessing=read_preprocessing(checkpoint),
        tokens=find_tokens(checkpoint, read_tokenizer(checkpoint), prompt),
        prompt=prompt,
    )


def describe_model(checkpoint: Checkpoint, recipe: ExportRecipe) -> ModelSpec:
    """The shapes and constants that the runtime needs.

    Raises:
        ConfigError: The two images do not fit into the sequence.
    """
    language, vision = checkpoint.language, checkpoint.vision
    cell = checkpoint.patch_size * vision.spatial_merge_size
    merged = (recipe.image_height // cell) * (recipe.image_width // cell)
    # Validated, not just constructed: transformers types many of these as optional or as lists.
    return ModelSpec.model_validate(
        {
            "image_height": recipe.image_height,
            "image_width": recipe.image_width,
            "patch_size": checkpoint.patch_size,
            "temporal_patch_size": vision.temporal_patch_size,
            "merge_size": vision.spatial_merge_size,
            "vision_width": vision.hidden_size,
            "hidden_size": language.hidden_size,
            "vocab_size": language.vocab_size,
            "num_layers": language.num_layers,
            "num_heads": language.num_heads,
            "num_kv_heads": language.num_kv_heads,
            "head_dim": language.head_dim,
            "max_sequence_length": _sequence_length(
                recipe.max_sequence_length,
                needed=2 * (merged + vision.compare_token_size) + _TEXT_TOKENS,
                trained=language.trained_length,
            ),
            "rope_theta": language.rope_theta,
            "mrope_section": language.mrope_section,
            "compare_token_size": vision.compare_token_size,
            "compare_position_mode": checkpoint.config.compare_position_mode,
            "has_anomaly_map": bool(vision.compare_token_size and vision.compare_anomaly_map),
            "map_types": tuple(vision.compare_map_types) if vision.compare_token_size else (),
        }
    )


def _sequence_length(wanted: int | None, *, needed: int, trained: int) -> int:
    length = wanted or min(trained, max(_DEFAULT_SEQUENCE, needed))
    if not needed <= length <= trained:
        raise ConfigError(
            f"two images of this size and {_TEXT_TOKENS} tokens of text need a sequence of "
            f"{needed}, the model was made for {trained}, and max_sequence_length is {length}. "
            "Choose a smaller image size or another length."
        )
    return length


def read_preprocessing(checkpoint: Checkpoint) -> Preprocessing:
    """How pixels are scaled: the checkpoint's own constants, or CLIP's where it states none."""
    settings = image_settings(checkpoint.path)
    return Preprocessing(
        image_mean=settings.get("image_mean", CLIP_MEAN),
        image_std=settings.get("image_std", CLIP_STD),
    )


def image_settings(path: Path) -> dict[str, Any]:
    """The image processor's settings: ``preprocessor_config.json``, or inside the processor's."""
    if (path / "preprocessor_config.json").is_file():
        return read_json(path / "preprocessor_config.json")
    if (path / "processor_config.json").is_file():
        settings: dict[str, Any] = read_json(path / "processor_config.json").get(
            "image_processor", {}
        )
        return settings
    return {}


def read_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """The checkpoint's tokenizer. Raises CheckpointError."""
    path = checkpoint.path / TOKENIZER_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{path} is missing. Save the tokenizer into the checkpoint in its fast form."
        )
    try:
        return Tokenizer.from_file(str(path))
    except Exception as err:  # the library raises nothing more specific
        raise CheckpointError(f"{path} is no tokenizer: {err}") from err


def find_tokens(checkpoint: Checkpoint, tokenizer: Tokenizer, prompt: PromptTemplate) -> Tokens:
    """The ids that the runtime acts on.

    Raises:
        UnsupportedModelError: A letter or the image placeholder is not one token of its own, or
            the placeholder is another than the configuration's.
    """
    single = {}
    for text in (IMAGE_TOKEN, prompt.yes, prompt.no):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if len(ids) != 1:
            raise UnsupportedModelError(
                f"{text!r} must be one token, but the tokenizer of {checkpoint.path} makes {ids}"
            )
        single[text] = ids[0]
    if single[IMAGE_TOKEN] != checkpoint.config.image_token_id:
        raise UnsupportedModelError(
            f"{IMAGE_TOKEN} is {single[IMAGE_TOKEN]} in the tokenizer of {checkpoint.path}, but "
            f"image_token_id is {checkpoint.config.image_token_id}"
        )
    return Tokens(
        image=single[IMAGE_TOKEN],
        end=tuple(sorted(set(_end_ids(checkpoint, tokenizer)))),
        yes=single[prompt.yes],
        no=single[prompt.no],
    )


def _end_ids(checkpoint: Checkpoint, tokenizer: Tokenizer) -> Iterator[int]:
    """Every id that may end an answer: Qwen's two, and those the checkpoint's settings name."""
    named: list[Any] = [list(checkpoint.language.end_ids)]
    generation = checkpoint.path / "generation_config.json"
    if generation.is_file():
        named.append(read_json(generation).get("eos_token_id"))
    named += [tokenizer.token_to_id(token) for token in (END_OF_TURN, _PAD_TOKEN)]
    for ids in named:
        if ids is not None:
            yield from ids if isinstance(ids, list) else [ids]
