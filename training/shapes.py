"""The published shape of a base model, to plan with while its checkpoint is not here.

From the AD-Copilot spec, section 2: what its ``config.json`` says. Once the checkpoint is there its
own file counts.
"""

from __future__ import annotations

from typing import Any, Literal

ShapeName = Literal["qwen2.5-vl-7b", "ad-copilot-7b", "ad-copilot-7b-map"]
"""The last is the second with our anomaly map."""

_LANGUAGE = {
    "vocab_size": 152_064,
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 128_000,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 1_000_000.0,
        "mrope_section": [16, 24, 24],
    },
}
_VISION = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "out_hidden_size": 3584,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}

SHAPES: dict[ShapeName, dict[str, Any]] = {
    "qwen2.5-vl-7b": {
        "model_type": "qwen2_5_vl",
        "text_config": _LANGUAGE,
        "vision_config": _VISION,
        "tie_word_embeddings": False,
    },
    "ad-copilot-7b": {
        "model_type": "ad_copilot",
        "text_config": _LANGUAGE,
        "vision_config": {**_VISION, "compare_token_size": 100},
        "tie_word_embeddings": False,
    },
    "ad-copilot-7b-map": {
        "model_type": "ad_copilot",
        "text_config": _LANGUAGE,
        "vision_config": {**_VISION, "compare_token_size": 100, "compare_anomaly_map": True},
        "tie_word_embeddings": False,
    },
}
