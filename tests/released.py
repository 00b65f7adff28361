"""Tiny checkpoints in the words of released files: the keys are theirs, the values shrunken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from tiny import save_tiny, tiny_config, tiny_model

# What released models lack.
PLAIN = {
    "compare_rope": False,
    "compare_anomaly_map": False,
    "compare_position_mode": "shared",
}
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]

Prefix = Literal["disk", "memory"]


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def ids_of(config: Any) -> dict[str, int]:
    """The token ids of the tiny tokenizer under the names of Qwen2.5-VL's files."""
    return {
        "bos_token_id": config.text.bos_token_id,
        "eos_token_id": config.text.eos_token_id,
        "image_token_id": config.image_token_id,
        "video_token_id": config.video_token_id,
        "vision_start_token_id": config.vision_start_token_id,
        "vision_end_token_id": config.vision_end_token_id,
    }


def write_thinking(folder: Path, *, prefix: Prefix = "disk") -> Path:
    """AD-Copilot-Thinking: saved by transformers 4.57, older names of model and processor.

    Text settings stand at the top level and in ``text_config``. ``compare_token_size`` is left to
    its default, 100.
    """
    config = tiny_config(is_tied=False, compare_token_size=100, **PLAIN)
    save_tiny(folder, tiny_model(config), prefix=prefix)
    text: dict[str, Any] = {
        "attention_dropout": 0.0,
        "bos_token_id": config.text.bos_token_id,
        "dtype": "bfloat16",
        "eos_token_id": config.text.eos_token_id,
        "hidden_act": "silu",
        "hidden_size": 64,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "max_position_embeddings": 2048,
        "max_window_layers": 2,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {"mrope_section": [2, 3, 3], "rope_type": "default", "type": "default"},
        "rope_theta": 1000000.0,
        "sliding_window": None,
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": 320,
    }
    vision = {
        "depth": 3,
        "dtype": "bfloat16",
        "fullatt_block_indexes": [1],
        "hidden_act": "silu",
        "hidden_size": 64,
        "in_channels": 3,
        "in_chans": 3,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "model_type": "qwen2_5_vl",
        "num_heads": 4,
        "out_hidden_size": 64,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "spatial_patch_size": 14,
        "temporal_patch_size": 2,
        "tokens_per_second": 2,
        "window_size": 112,
    }
    model_class = "modeling_yangjian.YangJianVLForConditionalGeneration"
    content = {
        **text,
        **ids_of(config),
        "architectures": ["YangJianVLForConditionalGeneration"],
        "auto_map": {
            "AutoConfig": "modeling_yangjian.YangJianConfig",
            "AutoModelForImageTextToText": model_class,
            "AutoModelForVision2Seq": model_class,
        },
        "model_type": "yangjian",
        "sequence_compare": True,
        "text_config": {
            **text,
            "architectures": ["Qwen2_5_VLForConditionalGeneration"],
            "image_token_id": None,
            "layer_types": ["full_attention", "full_attention"],
            "model_type": "qwen2_5_vl_text",
            "video_token_id": None,
        },
        "tie_word_embeddings": False,
        "transformers_version": "4.57.3",
        "vision_config": vision,
        "vision_token_id": 151654,
    }
    write_json(folder / "config.json", content)
    processor = "modeling_yangjian.YangJianProcessor"
    write_json(
        folder / "processor_config.json",
        {"auto_map": {"AutoProcessor": processor}, "processor_class": "YangJianProcessor"},
    )
    write_preprocessor(folder, "Qwen2VLImageProcessorFast", "YangJianProcessor")
    return folder


def write_stock(folder: Path, *, prefix: Prefix = "disk") -> Path:
    """Qwen2.5-VL-3B-Instruct: settings of the text at the top level only, the head tied."""
    config = tiny_config(is_tied=True, compare_token_size=0, **PLAIN)
    save_tiny(folder, tiny_model(config), prefix=prefix)
    content = {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "attention_dropout": 0.0,
        **ids_of(config),
        "vision_token_id": 151654,
        "hidden_act": "silu",
        "hidden_size": 64,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "max_position_embeddings": 128000,
        "max_window_layers": 70,
        "model_type": "qwen2_5_vl",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.41.2",
        "use_cache": True,
        "use_sliding_window": False,
        "vision_config": {
            "depth": 3,
            "hidden_act": "silu",
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_heads": 4,
            "in_chans": 3,
            "out_hidden_size": 64,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "spatial_patch_size": 14,
            "window_size": 112,
            "fullatt_block_indexes": [1],
            "tokens_per_second": 2,
            "temporal_patch_size": 2,
        },
        "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
        "vocab_size": 320,
    }
    write_json(folder / "config.json", content)
    (folder / "processor_config.json").unlink()
    write_preprocessor(folder, "Qwen2_5_VLImageProcessor", "Qwen2_5_VLProcessor")
    return folder


def write_preprocessor(folder: Path, image_processor: str, processor: str) -> None:
    content = {
        "min_pixels": 3136,
        "max_pixels": 12845056,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": MEAN,
        "image_std": STD,
        "image_processor_type": image_processor,
        "processor_class": processor,
    }
    write_json(folder / "preprocessor_config.json", content)
