"""When things happen in a run: learning rates, and at which steps it logs, scores and saves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from adcopilot_edge.training.recipe import ScheduleRecipe, TrainRecipe
from adcopilot_edge.training.stage_recipe import StageRecipe

LAST_RATE = 0.1
"""The share of a stage's learning rate that is left at its end."""


@dataclass(frozen=True, slots=True)
class StagePlan:
    """Where a stage lies in a run: its number, steps done before it, samples seen before it."""

    stage: StageRecipe
    number: int
    first_step: int
    first_sample: int

    @property
    def last_step(self) -> int:
        """The run's steps when the stage is done."""
        return self.first_step + self.stage.steps


def plan_stages(recipe: TrainRecipe) -> list[StagePlan]:
    """The stages of ``recipe`` one behind the other."""
    plans: list[StagePlan] = []
    step = sample = 0
    for number, stage in enumerate(recipe.stages):
        plans.append(StagePlan(stage, number, step, sample))
        step += stage.steps
        sample += stage.steps * stage.batch_size
    return plans


def rate_share(step: int, *, warmup_steps: int, steps: int) -> float:
    """The share of the peak rate at ``step``, from 1: linear, then a cosine to a tenth."""
    if step <= warmup_steps:
        return step / max(1, warmup_steps)
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    fall = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
    return LAST_RATE + (1 - LAST_RATE) * fall


class RunSchedule(TrainerCallback):
    """Lets a stage log, score and save at the steps of the whole run, and at its own last one."""

    def __init__(self, schedule: ScheduleRecipe, plan: StagePlan) -> None:
        self._schedule = schedule
        self._plan = plan

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Mark what is due behind this step."""
        step = self._plan.first_step + state.global_step
        is_last = step == self._plan.last_step
        schedule = self._schedule
        control.should_log = is_last or step % schedule.log_every_steps == 0
        control.should_evaluate = is_last or step % schedule.evaluate_every_steps == 0
        control.should_save = is_last or step % schedule.checkpoint_every_steps == 0
        return control
