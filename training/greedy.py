"""Prompts answered greedily, token by token: the same answers in every run. Knows no truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import BatchFeature

from adcopilot_edge.training.grpo_prompts import Prompt
from adcopilot_edge.training.processor import ADCopilotProcessor


@torch.no_grad()
def greedy_answers(
    model: Any, processor: ADCopilotProcessor, batch: Sequence[Prompt], *, max_new_tokens: int
) -> list[str]:
    """What ``model``, which must be in its mode for evaluation, says to a batch of prompts.

    Every process of a model in shards has to call it with the same prompts.
    """
    inputs = inputs_of(processor, batch).to(next(model.parameters()).device)
    ids = model.generate(
        **inputs,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        suppress_tokens=[processor.image_token_id],
        pad_token_id=processor.tokenizer.pad_token_id,
        eos_token_id=processor.tokenizer.eos_token_id,
    )
    said = ids[:, inputs["input_ids"].shape[1] :]
    words: list[str] = processor.batch_decode(said, skip_special_tokens=True)
    return words


def inputs_of(processor: ADCopilotProcessor, batch: Sequence[Prompt]) -> BatchFeature:
    """The model's inputs for a batch of prompts, padded on the left."""
    texts = [
        processor.apply_chat_template(item.messages, add_generation_prompt=True, tokenize=False)
        for item in batch
    ]
    made: BatchFeature = processor(
        text=texts,
        images=[list(item.images) for item in batch],
        padding=True,
        padding_side="left",
        return_tensors="pt",
    )
    return made
