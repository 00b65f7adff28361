"""The model that a run starts from: shapes filled anew, or a checkpoint; and the shape of either.

A stock Qwen2.5-VL becomes an AD-Copilot here: its weights stay, and it gets a fresh Comparison
Encoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedConfig
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.utils import logging

from adcopilot_edge.errors import CheckpointError, ConfigError
from adcopilot_edge.training.config import ADCopilotConfig
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.recipe import BaseRecipe, TrainRecipe
from adcopilot_edge.training.scratch import build_config, build_processor
from adcopilot_edge.training.shapes import SHAPES
from adcopilot_edge.training.stage_recipe import StageRecipe
from adcopilot_edge.training.stage_weights import loading_type

_STOCK = "qwen2_5_vl"
_OURS = ("ad_copilot", "yangjian")
_ENCODER = "compare_visual_encoder."
# What a checkpoint with a Comparison Encoder may get, and the tensors that are new then.
_ADDABLE = {
    "compare_map_types": "compare_visual_encoder.type_map.",
    "compare_patch_places": "compare_visual_encoder.patch_places",
    "compare_token_cells": "compare_visual_encoder.told_map",
}

Loaded = tuple[ADCopilotForConditionalGeneration, ADCopilotProcessor]


def load_start(recipe: TrainRecipe) -> Loaded:
    """The model and the processor that ``recipe`` starts from.

    What is drawn anew depends on torch's seed.

    Raises:
        CheckpointError: The checkpoint can't be had or read, or lacks tensors.
        ConfigError: It is no model of this family, or the recipe adds what it has already.
    """
    if recipe.model is not None:
        processor = build_processor(recipe.model, recipe.image_size)
        config = build_config(recipe.model, processor.tokenizer)
        return ADCopilotForConditionalGeneration(config), processor
    assert recipe.base is not None
    return load_base(recipe.base, recipe.stages[0])


def load_base(base: BaseRecipe, stage: StageRecipe | None = None) -> Loaded:
    """The model and the processor of a checkpoint, all weights in one type.

    stage: to load them for; see ``loading_type``. Without one it is that of its ``config.json``.
    Raises as ``load_start``.
    """
    config = base_config(base)
    options: dict[str, Any] = {"revision": base.revision} if base.revision else {}
    added = tuple(name for key, name in _ADDABLE.items() if getattr(base, key) is not None)
    try:
        # Silent: what is missing is told below, or wanted.
        with _silent():
            loaded: Any = ADCopilotForConditionalGeneration.from_pretrained(
                base.source,
                config=config,
                dtype=loading_type(base.source, stage) if stage else "auto",
                output_loading_info=True,
                ignore_mismatched_sizes=bool(added),
                **options,
            )
        processor = _load_processor(base.source, config, options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as err:
        raise CheckpointError(f"{base.checkpoint} can't be loaded: {err}") from err
    model, report = loaded
    is_fresh = base.compare_token_size is not None
    missing = [name for name in report["missing_keys"] if not (is_fresh and _ENCODER in name)]
    missing += [name for name, *_ in report["mismatched_keys"]]
    missing = [name for name in missing if not any(new in name for new in added)]
    if wrong := sorted([*missing, *report["unexpected_keys"]]):
        raise CheckpointError(
            f"{base.checkpoint} does not fit its own config.json: {', '.join(wrong[:5])} "
            f"({len(wrong)} tensors) are missing or not expected"
        )
    return model, processor


def _load_processor(
    checkpoint: str, config: ADCopilotConfig, options: dict[str, Any]
) -> ADCopilotProcessor:
    """The processor by its parts: published files name classes that no library has."""
    settings, _ = ADCopilotProcessor.get_processor_dict(checkpoint, **options)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, **options)
    return ADCopilotProcessor(
        image_processor=Qwen2VLImageProcessorPil.from_pretrained(checkpoint, **options),
        tokenizer=tokenizer,
        chat_template=settings.get("chat_template") or tokenizer.chat_template,
        compare_token_size=config.vision.compare_token_size,
    )


def start_config(recipe: TrainRecipe) -> ADCopilotConfig:
    """The configuration of the model that ``recipe`` starts from; no weights are read.

    Raises as ``load_start``.
    """
    if recipe.model is not None:
        processor = build_processor(recipe.model, recipe.image_size)
        return build_config(recipe.model, processor.tokenizer)
    assert recipe.base is not None
    base = recipe.base
    if base.shape is not None and not Path(base.source).is_dir():
        return _completed(SHAPES[base.shape], base)
    return base_config(base)


def base_config(base: BaseRecipe) -> ADCopilotConfig:
    """The configuration of a checkpoint with what the recipe adds to a stock model.

    Raises as ``load_start``.
    """
    options = {"revision": base.revision} if base.revision else {}
    if base.revision and Path(base.source).is_dir():
        raise ConfigError(
            f"{base.checkpoint} is read as a folder, which has no revision {base.revision!r}; "
            "leave it out of [base]"
        )
    try:
        raw, _ = PreTrainedConfig.get_config_dict(base.source, **options)
    except (OSError, ValueError) as err:
        raise CheckpointError(
            f"{base.checkpoint} is no checkpoint folder and can't be had from the hub: {err}. "
            "Train the stage before first, or correct [base] checkpoint"
        ) from err
    if not raw:
        raise CheckpointError(f"{base.checkpoint} has no config.json: it is no checkpoint folder")
    return _completed(raw, base)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep transformers' warnings back."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _completed(raw: dict[str, Any], base: BaseRecipe) -> ADCopilotConfig:
    """``config.json`` of a checkpoint as our configuration."""
    kind = raw.get("model_type")
    added = {
        name: value
        for name in BaseRecipe.model_fields
        if name.startswith("compare_") and (value := getattr(base, name)) is not None
    }
    if kind in _OURS:
        new = {name: added.pop(name) for name in _ADDABLE if name in added}
        if added:
            raise ConfigError(
                f"{base.checkpoint} has a Comparison Encoder already; leave out "
                f"{', '.join(added)} of [base]"
            )
        if new:
            raw = {**raw, "vision_config": {**raw["vision_config"], **new}}
        return ADCopilotConfig.from_dict({**raw, "model_type": ADCopilotConfig.model_type})
    if kind != _STOCK:
        raise ConfigError(
            f"{base.checkpoint} has model_type {kind!r}; training starts from "
            f"{', '.join((*_OURS, _STOCK))}"
        )
    if "compare_token_size" not in added:
        raise ConfigError(
            f"{base.checkpoint} is a stock Qwen2.5-VL without a Comparison Encoder; "
            "say compare_token_size = 100 in [base] to add one"
        )
    mode = added.pop("compare_position_mode", "diagonal")
    return ADCopilotConfig.from_dict(
        {
            **raw,
            "model_type": ADCopilotConfig.model_type,
            "architectures": [ADCopilotForConditionalGeneration.__name__],
            "vision_config": {**raw.get("vision_config", {}), **added},
            "compare_position_mode": mode,
        }
    )
