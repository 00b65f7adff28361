"""The settings of a language model as one record, whatever family it belongs to.

Knows transformers' configurations of the Llama, Qwen2 and Qwen2.5-VL families, and nothing of
tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.qwen2.configuration_qwen2 import Qwen2Config

# model_type of the checkpoints that are a language model and nothing else.
TEXT_CONFIGS: dict[str, type[PreTrainedConfig]] = {"llama": LlamaConfig, "qwen2": Qwen2Config}

# What the attention of onnxruntime can rotate.
_HEAD_DIM_STEP = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageSettings:
    """What the decoder's graph and the runtime must know of a language model.

    mrope_section: frequencies of the temporal, the height and the width axis; a text-only model
    has all of them on the first, where its position ids count. trained_length: positions that the
    model was made for. end_ids: tokens that end an answer by the configuration.
    """

    hidden_size: int
    vocab_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    mrope_section: tuple[int, int, int]
    trained_length: int
    end_ids: tuple[int, ...]


def read_language(config: PreTrainedConfig) -> LanguageSettings:
    """The record of a configuration, its ``text_config`` where it has one."""
    text: Any = config.get_text_config()
    head_dim = _head_dim(text)
    end = text.eos_token_id
    return LanguageSettings(
        hidden_size=text.hidden_size,
        vocab_size=text.vocab_size,
        num_layers=text.num_hidden_layers,
        num_heads=text.num_attention_heads,
        num_kv_heads=text.num_key_value_heads,
        head_dim=head_dim,
        rms_norm_eps=text.rms_norm_eps,
        rope_theta=text.rope_parameters["rope_theta"],
        mrope_section=_sections(text.rope_parameters.get("mrope_section", (head_dim // 2, 0, 0))),
        trained_length=text.max_position_embeddings,
        end_ids=() if end is None else tuple(end) if isinstance(end, list) else (end,),
    )


def unknown_settings(config: PreTrainedConfig) -> list[str]:
    """What the decoder's graph does not compute of a configuration, one finding a setting."""
    text: Any = config.get_text_config()
    name = "config" if text is config else "text_config"
    rope, head_dim = text.rope_parameters, _head_dim(text)
    findings = []
    if text.hidden_act != "silu":
        findings.append(f"{name}.hidden_act {text.hidden_act!r}, only 'silu' is known")
    if "sliding_attention" in (getattr(text, "layer_types", None) or ()):
        findings.append(f"{name} has layers with a sliding window")
    if (kind := rope.get("rope_type", "default")) not in ("default", "mrope"):
        findings.append(f"{name}.rope_type {kind!r}, only 'default' is known")
    if (factor := rope.get("partial_rotary_factor", 1.0)) != 1.0:
        findings.append(f"{name}.partial_rotary_factor {factor}, only 1.0 is known")
    if text is not config and "mrope_section" not in rope:
        findings.append(f"{name} has no mrope_section")
    if head_dim % _HEAD_DIM_STEP:
        findings.append(f"{name}.head_dim {head_dim}, only multiples of {_HEAD_DIM_STEP} are known")
    if text.num_attention_heads % text.num_key_value_heads:
        findings.append(
            f"{name} has {text.num_attention_heads} attention heads for "
            f"{text.num_key_value_heads} key-value heads, which must divide them"
        )
    return findings


def _head_dim(text: Any) -> int:
    stated = getattr(text, "head_dim", None)
    return int(stated or text.hidden_size // text.num_attention_heads)


def _sections(values: Sequence[int]) -> tuple[int, int, int]:
    temporal, height, width = values
    return temporal, height, width
