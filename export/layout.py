"""Whether the exporter's graphs stand for a checkpoint: its settings, and every tensor's shape."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from adcopilot_edge.errors import CheckpointError, UnsupportedModelError
from adcopilot_edge.export.checkpoint import Checkpoint, join_findings
from adcopilot_edge.export.language import unknown_settings
from adcopilot_edge.export.tensors import FLOAT_TYPES, our_name
from adcopilot_edge.training.config import ADCopilotConfig
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration

# Tables of angles that old Llama checkpoints carry; they follow from rope_theta.
_TABLE = "rotary_emb.inv_freq"


def check_layout(checkpoint: Checkpoint) -> None:
    """Raise unless the graph writers can read all they need from ``checkpoint``.

    Raises:
        UnsupportedModelError: A setting is one that the graphs do not know.
        CheckpointError: Tensors are missing or have another shape than the configuration gives
            them. Biases of the attention may be missing and then count as zero.
    """
    if findings := _settings(checkpoint):
        raise UnsupportedModelError(
            f"{checkpoint.path / 'config.json'} asks for what this release does not export: "
            f"{'; '.join(findings)}."
        )
    if findings := _tensors(checkpoint):
        raise CheckpointError(
            f"{checkpoint.path} does not fit its config.json: {join_findings(findings)}. "
            "Download or copy the checkpoint again."
        )


def _settings(checkpoint: Checkpoint) -> list[str]:
    """What the graphs do not know of the checkpoint's configuration."""
    findings = unknown_settings(checkpoint.settings)
    if not isinstance(checkpoint.settings, ADCopilotConfig):
        return findings
    vision = checkpoint.vision
    if vision.hidden_act != "silu":
        findings.append(f"vision_config.hidden_act {vision.hidden_act!r}, only 'silu' is known")
    if vision.compare_token_size and not checkpoint.config.sequence_compare:
        # The golden's tokens would depend on the test image, so nothing could be reused.
        findings.append("sequence_compare false, which compares the first image with the last")
    if vision.in_channels != 3:
        findings.append(f"vision_config.in_channels {vision.in_channels}, only 3 is known")
    return findings


def _tensors(checkpoint: Checkpoint) -> list[str]:
    """Which tensors are missing, of a wrong shape or type, or unknown, by our names."""
    expected = {our_name(name): tensor for name, tensor in _state(checkpoint).items()}
    findings = []
    for name, tensor in expected.items():
        entry = checkpoint.entries.get(name)
        if entry is None:
            is_tied = name == "lm_head.weight" and checkpoint.settings.tie_word_embeddings
            is_zero = ".self_attn." in name and name.endswith(".bias")
            if not is_tied and not is_zero:
                findings.append(f"{name} is missing")
        elif entry.shape != tuple(tensor.shape):
            findings.append(f"{name} has shape {entry.shape}, not {tuple(tensor.shape)}")
        elif entry.dtype not in FLOAT_TYPES:
            findings.append(f"{name} is of type {entry.dtype}, not one of {', '.join(FLOAT_TYPES)}")
    # Weights of the language model that no graph would apply: its answers would differ.
    findings += [
        f"{name} is a tensor that config.json gives no place to"
        for name in sorted(checkpoint.entries.keys() - expected.keys())
        if name.startswith("language_model.") and not name.endswith(_TABLE)
    ]
    return findings


def _state(checkpoint: Checkpoint) -> Mapping[str, Tensor]:
    """Every tensor that the checkpoint's model has, with its shape and without values."""
    settings = checkpoint.settings
    with torch.device("meta"):
        if isinstance(settings, ADCopilotConfig):
            return ADCopilotForConditionalGeneration(settings).state_dict()
        return AutoModelForCausalLM.from_config(settings).state_dict()
