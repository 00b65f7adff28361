"""What a run of GRPO leaves to read: its rewards by kind, events, completions."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from adcopilot_edge.training.grpo_recipe import GrpoRecipe
from adcopilot_edge.training.rewards import (
    TRUTH_KINDS,
    Truth,
    TruthKind,
    format_reward,
    task_reward,
)

Report = Callable[[dict[str, Any]], None]
RewardFunction = Callable[..., list[float | None]]
_SAMPLES_NAME = "samples"
# trl's names of figures, and ours.
_FIGURES = {
    "reward": "reward",
    "reward_std": "reward_std",
    "rewards/format/mean": "format_share",
    "completions/mean_length": "completion_length",
    "completions/clipped_ratio": "cut_share",
    "frac_reward_zero_std": "even_share",
    "kl": "kl",
    "entropy": "entropy",
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}


class Rewards:
    """The terms of the reward as trl's functions, one a kind, so that each is reported by itself.

    The first of them also writes what was said in every ``every``-th step to
    ``samples/step-000010.jsonl`` of the run, a line a completion.
    """

    def __init__(self, recipe: GrpoRecipe, run: Path, *, every: int, is_writer: bool) -> None:
        self._recipe = recipe
        self._folder = run / _SAMPLES_NAME
        self._every = every
        self._is_writer = is_writer

    @property
    def functions(self) -> list[RewardFunction]:
        """``format``, then the kinds of truth; None where a term does not apply to a prompt."""

        def format(
            completions: list[Any],
            truth: list[Truth],
            key: list[str],
            trainer_state: TrainerState,
            **_: Any,
        ) -> list[float | None]:
            texts = [text_of(item) for item in completions]
            step = trainer_state.global_step + 1
            if self._is_writer and (step == 1 or step % self._every == 0):
                self._write(step, key, texts, truth)
            return [format_reward(text, self._recipe.thinking) for text in texts]

        return [format, *(self._of_kind(kind) for kind in TRUTH_KINDS)]

    @property
    def weights(self) -> list[float]:
        """A weight for each of ``functions``."""
        reward = self._recipe.reward
        return [reward.format, *(reward.of_kind(kind) for kind in TRUTH_KINDS)]

    def _of_kind(self, kind: TruthKind) -> RewardFunction:
        def function(completions: list[Any], truth: list[Truth], **_: Any) -> list[float | None]:
            return [
                task_reward(text_of(item), wanted, self._recipe.thinking)
                if wanted.kind == kind
                else None
                for item, wanted in zip(completions, truth, strict=True)
            ]

        function.__name__ = kind
        return function

    def _write(
        self, step: int, keys: Sequence[str], texts: Sequence[str], truths: Sequence[Truth]
    ) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        tags = self._recipe.thinking
        with (self._folder / f"step-{step:06}.jsonl").open("w", encoding="utf-8") as stream:
            for key, text, truth in zip(keys, texts, truths, strict=True):
                line = {
                    "key": key,
                    "kind": truth.kind,
                    "completion": text,
                    "format": format_reward(text, tags),
                    "task": round(task_reward(text, truth, tags), 4),
                }
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def text_of(completion: Any) -> str:
    """The words of a completion as trl gives it: the messages of the assistant, of which one is."""
    (message,) = completion
    content = message["content"]
    assert isinstance(content, str)
    return content


class GrpoEvents(TrainerCallback):
    """Passes the trainer's figures on as events of our own form.

    A step's event has the mean reward, ``rewards`` by kind without weights, the share of
    completions in the right format, their mean length in tokens and the share that was cut, the
    share of groups whose answers all earn the same (they teach nothing), the KL term and more.
    """

    def __init__(self, log: Report) -> None:
        self._log = log

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Write one event; the trainer's closing summary is none."""
        if not logs or "reward" not in logs or not state.is_world_process_zero:
            return
        event: dict[str, Any] = {"event": "step", "step": state.global_step}
        event |= {name: _rounded(logs[key]) for key, name in _FIGURES.items() if key in logs}
        means = ((kind, logs.get(f"rewards/{kind}/mean")) for kind in TRUTH_KINDS)
        event["rewards"] = {kind: _rounded(mean) for kind, mean in means if mean is not None}
        self._log(event)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Tell of a checkpoint to resume from."""
        if state.is_world_process_zero:
            self._log({"event": "checkpoint", "step": state.global_step})


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
