"""Build a model from scratch by a recipe: its tokenizer, its configuration, its processor.

The classes are those that released checkpoints load into; only the numbers are small.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from transformers import PreTrainedTokenizerFast
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from adcopilot_edge.prompt import DEFAULT_PROMPT
from adcopilot_edge.training.config import ADCopilotConfig
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.recipe import ModelRecipe
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.training.tasks import exchanges
from adcopilot_edge.training.tokenizer import CHAT_TEMPLATE, build_tokenizer

_TOKENIZER_PAIRS = 600
_VOCAB_MULTIPLE = 64  # pads the embedding, as Qwen does, so that products have even shapes


def tokenizer_texts(image_size: int) -> Iterator[str]:
    """Texts that the tokenizer learns from: the prompt and answers about synthetic pairs."""
    rng = random.Random(0)
    for seed in range(_TOKENIZER_PAIRS):
        pair = generate_pair(seed, size=image_size).to_labelled()
        for exchange in exchanges(pair, rng):
            yield DEFAULT_PROMPT.golden + exchange.question + exchange.answer


def build_processor(recipe: ModelRecipe, image_size: int) -> ADCopilotProcessor:
    """The processor of a model from scratch, whose images are squares of ``image_size`` pixels."""
    tokenizer = build_tokenizer(tokenizer_texts(image_size), vocab_size=recipe.vocab_size)
    pixels = image_size * image_size
    return ADCopilotProcessor(
        image_processor=Qwen2VLImageProcessorPil(
            size={"shortest_edge": pixels, "longest_edge": pixels}
        ),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE,
        compare_token_size=recipe.compare_token_size,
    )


def build_config(recipe: ModelRecipe, tokenizer: PreTrainedTokenizerFast) -> ADCopilotConfig:
    """The configuration that ``recipe`` describes, with the tokenizer's ids."""

    def token_id(token: str) -> int:
        number = tokenizer.convert_tokens_to_ids(token)
        assert isinstance(number, int)
        return number

    return ADCopilotConfig(
        text_config={
            "vocab_size": -(-len(tokenizer) // _VOCAB_MULTIPLE) * _VOCAB_MULTIPLE,
            "hidden_size": recipe.hidden_size,
            "intermediate_size": recipe.mlp,
            "num_hidden_layers": recipe.layers,
            "num_attention_heads": recipe.heads,
            "num_key_value_heads": recipe.kv_heads,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": list(recipe.mrope_section),
            },
            "bos_token_id": token_id("<|endoftext|>"),
            "eos_token_id": token_id("<|im_end|>"),
            "pad_token_id": token_id("<|endoftext|>"),
        },
        vision_config={
            "depth": recipe.vision_depth,
            "hidden_size": recipe.vision_width,
            "intermediate_size": recipe.vision_mlp,
            "num_heads": recipe.vision_heads,
            "out_hidden_size": recipe.hidden_size,
            "fullatt_block_indexes": list(recipe.full_attention_blocks),
            "compare_token_size": recipe.compare_token_size,
            "compare_minus_residual": recipe.compare_minus_residual,
            "compare_rope": recipe.compare_rope,
            "compare_query_grid": recipe.compare_query_grid,
            "compare_patch_places": recipe.compare_patch_places,
            "compare_anomaly_map": recipe.compare_anomaly_map,
            "compare_map_scale": recipe.compare_map_scale,
            "compare_map_margin": recipe.compare_map_margin,
            "compare_map_types": list(recipe.compare_map_types),
            "compare_token_cells": recipe.compare_token_cells,
        },
        compare_position_mode=recipe.compare_position_mode,
        image_token_id=token_id("<|image_pad|>"),
        video_token_id=token_id("<|video_pad|>"),
        vision_start_token_id=token_id("<|vision_start|>"),
        vision_end_token_id=token_id("<|vision_end|>"),
        tie_word_embeddings=True,
    )
