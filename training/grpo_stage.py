"""A recipe's stage of the method ``grpo``: its settings, its questions, and its place in the run.

The stage has a folder of its own inside the run's, where ``train_grpo`` keeps what it goes on from;
its end becomes a checkpoint of the run like that of every other stage.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import distributed
from torch.utils.data import ConcatDataset

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.arguments import is_main_process, num_processes
from adcopilot_edge.training.chat_ad.shards import read_shards
from adcopilot_edge.training.checkpoint import Progress, write_checkpoint
from adcopilot_edge.training.grpo import train_grpo
from adcopilot_edge.training.grpo_log import Report
from adcopilot_edge.training.grpo_prompts import CHECKABLE, ChatPrompts, PairPrompts, Prompts
from adcopilot_edge.training.grpo_settings import grpo_settings
from adcopilot_edge.training.image_rule import image_rule
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.recipe import TrainRecipe
from adcopilot_edge.training.schedule import StagePlan
from adcopilot_edge.training.stage_data import PairSamples, first_number, open_sources
from adcopilot_edge.training.stage_recipe import DataRecipe, StageRecipe


def train_grpo_stage(
    recipe: TrainRecipe,
    plan: StagePlan,
    start: Path,
    folder: Path,
    *,
    score: Callable[[Path], None],
    report: Report,
) -> None:
    """Train the model in the checkpoint ``start`` through a stage of the run in ``folder``.

    A stage that was interrupted goes on. score: called with what the stage ended with, before it
    is a checkpoint of the run, so that no run is done without its scores. report: called with
    ``answers``, the figures of a step of the run; all events of ``train_grpo`` are in the log of
    the stage's folder.

    Raises ConfigError as ``grpo_settings`` and ``grpo_prompts``.
    """
    stage = plan.stage

    def tell(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            report({**event, "event": "answers", "step": plan.first_step + event["step"]})

    inner = folder / f"grpo-{plan.number}"
    processor = ADCopilotProcessor.from_pretrained(start)
    trained = train_grpo(
        start,
        grpo_prompts(recipe, plan, processor),
        grpo_settings(recipe, stage, num_devices=num_processes()),
        inner,
        resume=inner.exists(),
        report=tell,
    )
    wait_for_all()
    score(trained.checkpoint)
    progress = Progress(plan.last_step, plan.number, stage.steps)
    with write_checkpoint(
        folder, progress, recipe, is_writer=is_main_process(), wait=wait_for_all
    ) as target:
        if is_main_process():
            shutil.copytree(trained.checkpoint, target, dirs_exist_ok=True)


def wait_for_all() -> None:
    """Return once all processes that train together are here."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()


def grpo_prompts(recipe: TrainRecipe, plan: StagePlan, processor: ADCopilotProcessor) -> Prompts:
    """The questions of all sources of a stage, one source behind the other.

    Raises ConfigError where a source has tasks without one right answer, or nothing to ask.
    """
    stage = plan.stage
    first = first_number(recipe.seed, plan.first_sample)
    sources = open_sources(stage, first, recipe.seed)
    parts: list[Any] = []
    for item, source in zip(stage.data, sources, strict=True):
        if isinstance(source, PairSamples):
            parts.append(_pair_prompts(recipe, stage, item, source))
        else:
            assert item.path is not None
            assert stage.grpo is not None
            shards = read_shards(item.path, split=item.split)
            parts.append(
                ChatPrompts(
                    shards,
                    image_rule(processor, recipe.image_size, stage.limits),
                    tags=stage.grpo.thinking,
                    tasks=item.tasks,
                    count=item.count,
                )
            )
    prompts: Any = parts[0] if len(parts) == 1 else ConcatDataset(parts)
    if not len(prompts):
        raise ConfigError(f"stage {stage.name}: its data has no question that can be checked")
    chosen: Prompts = prompts
    return chosen


def _pair_prompts(
    recipe: TrainRecipe, stage: StageRecipe, item: DataRecipe, source: PairSamples
) -> PairPrompts:
    tasks = tuple(task for task in CHECKABLE if item.tasks is None or task in item.tasks)
    assert stage.grpo is not None
    return PairPrompts(
        source,
        count=item.count or stage.steps * stage.batch_size,
        size=recipe.image_size,
        tasks=tasks,
        tags=stage.grpo.thinking,
    )
