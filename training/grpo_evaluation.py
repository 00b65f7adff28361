"""Held-out prompts answered greedily before, between and after: what GRPO is judged by.

The rewards of the training itself are of answers that are drawn, to prompts that change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl.models.utils import disable_gradient_checkpointing

from adcopilot_edge.training.greedy import greedy_answers
from adcopilot_edge.training.grpo_log import Report
from adcopilot_edge.training.grpo_prompts import Prompt, Prompts
from adcopilot_edge.training.grpo_recipe import GrpoRecipe, GrpoRun
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.rewards import TRUTH_KINDS, format_reward, task_reward


class Evaluation(TrainerCallback):
    """Greedy answers to the held-out prompts before, between and after.

    Every process answers them all, since sharded weights can only be run together.
    """

    def __init__(
        self,
        model: Any,
        processor: ADCopilotProcessor,
        prompts: Prompts,
        settings: GrpoRun,
        log: Report,
    ) -> None:
        self._model, self._processor, self._prompts = model, processor, prompts
        self._settings, self._log = settings, log
        self.first: dict[str, Any] | None = None
        self.last: dict[str, Any] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Score the model as it is, unless the run is resumed."""
        if not state.global_step:
            self._score(state)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Score at every so many steps, and at the last."""
        step = state.global_step
        if step % self._settings.evaluate_every_steps == 0 or step == self._settings.steps:
            self._score(state)

    def _score(self, state: TrainerState) -> None:
        scores = greedy_scores(
            self._model,
            self._processor,
            self._prompts,
            self._settings.grpo,
            count=self._settings.evaluation_prompts,
            batch_size=self._settings.device_batch_size,
        )
        self.first = self.first or scores
        self.last = scores
        if state.is_world_process_zero:
            self._log({"event": "evaluation", "step": state.global_step, "scores": scores})


@torch.no_grad()
def greedy_scores(
    model: Any,
    processor: ADCopilotProcessor,
    prompts: Prompts,
    recipe: GrpoRecipe,
    *,
    count: int,
    batch_size: int,
) -> dict[str, Any]:
    """Means of the rewards by kind over the first ``count`` prompts, answered greedily.

    reward: with the recipe's weights. rewards: by kind, without. format_share: of all answers. The
    model's mode is left as it was, and nothing random is drawn.
    """
    was_training = model.training
    model.eval()
    found: dict[str, list[float]] = {kind: [] for kind in TRUTH_KINDS}
    formats: list[float] = []
    totals: list[float] = []
    chosen = range(min(count, len(prompts)))
    for start in range(0, len(chosen), batch_size):
        batch = [prompts[place] for place in chosen[start : start + batch_size]]
        for prompt, text in zip(batch, answer(model, processor, batch, recipe), strict=True):
            kept = format_reward(text, recipe.thinking)
            earned = task_reward(text, prompt.truth, recipe.thinking)
            formats.append(kept)
            found[prompt.truth.kind].append(earned)
            weight = recipe.reward.of_kind(prompt.truth.kind)
            totals.append(recipe.reward.format * kept + weight * earned)
    model.train(was_training)
    return {
        "prompts": len(totals),
        "reward": _mean(totals),
        "rewards": {kind: _mean(values) for kind, values in found.items() if values},
        "format_share": _mean(formats),
    }


def answer(
    model: Any, processor: ADCopilotProcessor, batch: Sequence[Prompt], recipe: GrpoRecipe
) -> list[str]:
    """The model's greedy answers to a batch of prompts."""
    with disable_gradient_checkpointing(model, None):
        return greedy_answers(model, processor, batch, max_new_tokens=recipe.max_new_tokens)


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0
