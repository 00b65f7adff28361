"""A tiny model that says A or B, and prompts about small pairs, for the tests of GRPO."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import tiny
import torch

from adcopilot_edge.training.greedy import inputs_of
from adcopilot_edge.training.grpo_prompts import PairPrompts, Prompt
from adcopilot_edge.training.grpo_recipe import GrpoRecipe, GrpoRun
from adcopilot_edge.training.lora_recipe import LoraRecipe
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.stage_data import SyntheticPairs

_SIZE = 112


class ConstantKey:
    """Verdicts about small pairs whose key is always the same letter, whatever they show."""

    def __init__(self, letter: str, count: int = 4) -> None:
        self._letter = letter
        self._prompts = PairPrompts(SyntheticPairs(), count=count, size=_SIZE, tasks=("verdict",))

    def __len__(self) -> int:
        return len(self._prompts)

    def __getitem__(self, place: int) -> Prompt:
        prompt = self._prompts[place]
        return replace(prompt, truth=replace(prompt.truth, choice=self._letter))


def undecided_checkpoint(folder: Path) -> Path:
    """A tiny checkpoint that says A and B equally often, and seldom anything else.

    Untrained models say a given letter so seldom that no answer of a group earns anything.
    """
    model = tiny.tiny_model(tiny.tiny_config(is_tied=False))
    tiny.save_tiny(folder, model)
    processor = ADCopilotProcessor.from_pretrained(folder)
    inputs = inputs_of(processor, [ConstantKey("A")[0]])
    with torch.no_grad():
        hidden = model.model(**inputs).last_hidden_state[0, -1]
        across = torch.linalg.qr(torch.stack([hidden, torch.ones_like(hidden)], 1)).Q[:, 1]
        model.lm_head.weight.zero_()
        for letter, sign in (("A", 1), ("B", -1)):
            (place,) = processor.tokenizer.encode(letter)
            model.lm_head.weight[place] = 8 * hidden / hidden.square().sum() + sign * across
    return tiny.save_tiny(folder, model)


def run_settings(steps: int, *, grpo: dict[str, Any] | None = None, **changes: Any) -> GrpoRun:
    """Settings of a run in which a step takes two prompts with four answers of one token each."""
    recipe = {"group_size": 4, "max_new_tokens": 1, "thinking": None, **(grpo or {})}
    small = {
        "steps": steps,
        "prompts_per_step": 2,
        "device_batch_size": 8,
        "learning_rate": 1e-2,
        "lora": LoraRecipe(parts=("language",), rank=4, alpha=8),
        "checkpoint_every_steps": 2,
        "samples_every_steps": 1,
    }
    return GrpoRun(grpo=GrpoRecipe(**recipe), **{**small, **changes})
