"""Whether the exporter's graphs stand for a checkpoint: its settings, and every tensor's shape."""

from __future__ import annotations

import torch

from adcopilot_edge.errors import CheckpointError, UnsupportedModelError
from adcopilot_edge.export.checkpoint import Checkpoint, our_name
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration

_MAX_FINDINGS = 10


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
    findings = _tensors(checkpoint)
    if findings:
        more = len(findings) - _MAX_FINDINGS
        shown = findings[:_MAX_FINDINGS] + ([f"and {more} more"] if more > 0 else [])
        raise CheckpointError(
            f"{checkpoint.path} does not fit its config.json: {'; '.join(shown)}. "
            "Download or copy the checkpoint again."
        )


def _settings(checkpoint: Checkpoint) -> list[str]:
    """What the graphs do not know of the checkpoint's configuration."""
    text, vision = checkpoint.text, checkpoint.vision
    findings = [
        f"{name}.hidden_act {part.hidden_act!r}, only 'silu' is known"
        for name, part in (("text_config", text), ("vision_config", vision))
        if part.hidden_act != "silu"
    ]
    if "sliding_attention" in (text.layer_types or ()):
        findings.append("text_config has layers with a sliding window")
    if (kind := checkpoint.text_rope.get("rope_type", "default")) not in ("default", "mrope"):
        findings.append(f"text_config.rope_type {kind!r}, only 'default' is known")
    if "mrope_section" not in checkpoint.text_rope:
        findings.append("text_config has no mrope_section")
    if vision.compare_token_size and not checkpoint.config.sequence_compare:
        # The golden's tokens would depend on the test image, so nothing could be reused.
        findings.append("sequence_compare false, which compares the first image with the last")
    if vision.in_channels != 3:
        findings.append(f"vision_config.in_channels {vision.in_channels}, only 3 is known")
    return findings


def _tensors(checkpoint: Checkpoint) -> list[str]:
    """Which tensors are missing or have a wrong shape, by the names they have in the file."""
    with torch.device("meta"):
        model = ADCopilotForConditionalGeneration(checkpoint.config)
    findings = []
    for name, tensor in model.state_dict().items():
        name, expected = our_name(name), tuple(tensor.shape)
        entry = checkpoint.entries.get(name)
        if entry is None:
            is_tied = name == "lm_head.weight" and checkpoint.config.tie_word_embeddings
            is_zero = ".self_attn." in name and name.endswith(".bias")
            if not is_tied and not is_zero:
                findings.append(f"{name} is missing")
        elif entry.shape != expected:
            findings.append(f"{name} has shape {entry.shape}, not {expected}")
    return findings
