"""A run through a recipe's stages, resumable at any step, on one device or many.

Each stage is a run of its own that starts from the checkpoint of the one before, so an interrupted
run and an uninterrupted one load the same files. Batch i of a stage depends on i alone. Reports
through a callback; prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import nn
from transformers.utils import logging

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.arguments import (
    Parallel,
    is_main_process,
    num_processes,
    stage_arguments,
)
from adcopilot_edge.training.base import load_start, start_config
from adcopilot_edge.training.checkpoint import (
    Checkpoint,
    Progress,
    check_recipe,
    check_run,
    find_checkpoint,
    remove_leftovers,
    write_checkpoint,
)
from adcopilot_edge.training.comparison_start import point_queries_at_map
from adcopilot_edge.training.config import ADCopilotConfig
from adcopilot_edge.training.evaluation_data import (
    EvaluationSet,
    evaluation_sets,
    open_folders,
    write_holdouts,
)
from adcopilot_edge.training.event_log import EventLog, scores_by
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.recipe import TrainRecipe
from adcopilot_edge.training.sample_builder import SampleBuilder, sample_builder
from adcopilot_edge.training.schedule import StagePlan, plan_stages
from adcopilot_edge.training.scoring import score_sets
from adcopilot_edge.training.stage_checks import check_stages
from adcopilot_edge.training.stage_data import (
    StageData,
    first_number,
    mixture_of,
    open_sources,
    resolve_steps,
)
from adcopilot_edge.training.stage_model import start_stage
from adcopilot_edge.training.stage_weights import load_weights, restore_adapter
from adcopilot_edge.training.trainer import Report, StageRun, StageTrainer
from adcopilot_edge.types import LabelledPair

_EVALUATION_BATCH = 32


@dataclass(frozen=True, slots=True)
class Trained:
    """The end of a run: where the checkpoint lies and the last scores by set."""

    checkpoint: Path
    steps: int
    scores: dict[str, dict[str, Any]]


def train(
    recipe: TrainRecipe,
    folder: Path,
    *,
    resume: bool = False,
    workers: int = 1,
    parallel: Parallel = "ddp",
    held_out: Mapping[str, Sequence[LabelledPair]] | None = None,
    report: Report = lambda event: None,
) -> Trained:
    """Train by ``recipe`` in ``folder``, in every process of a group that trains together.

    held_out: further sets of pairs, by name, to score beside those of the recipe. report: called
    with one JSON-able event at a time; the same events are appended to ``log.jsonl``.

    Raises:
        ConfigError: The folder holds a checkpoint and ``resume`` is false, or it was made by
            another recipe; a stage can't be done; what to score on is not there; or the loss is
            no number.
        CheckpointError: The checkpoint to start from can't be used.
    """
    if parallel == "fsdp" and (whole := [one.name for one in recipe.stages if not one.can_shard]):
        raise ConfigError(
            f"stage {', '.join(whole)} needs the whole model on each device; use --parallel ddp"
        )
    recipe = with_known_steps(recipe)
    check_stages(recipe, recipe.model or start_config(recipe).vision, num_devices=num_processes())
    folder.mkdir(parents=True, exist_ok=True)
    plans = plan_stages(recipe)
    checkpoint = check_run(folder, resume=resume)
    if checkpoint is not None:
        check_recipe(checkpoint, recipe)
    step = checkpoint.progress.step if checkpoint else 0
    if is_main_process():
        remove_leftovers(folder)
    # Their bars would break the lines of the events.
    logging.disable_progress_bar()
    log = EventLog(folder, report, first_step=step)
    if resume and checkpoint is None:
        log({"event": "note", "text": f"{folder} has no checkpoint yet: the run begins anew"})
    folders = open_folders(recipe)
    sets = {**evaluation_sets(recipe, folders), **(held_out or {})}
    write_holdouts(folders, folder)
    for data in folders.values():
        log({"event": "folder", **data.to_json()})
    run = _Run(folder, recipe, workers, parallel, sets, log, scores_by(folder, step))
    for plan in plans:
        if step < plan.last_step:
            run.train(plan, checkpoint)
            checkpoint = find_checkpoint(folder)
            assert checkpoint is not None
            step = checkpoint.progress.step
    log.close()
    assert checkpoint is not None
    return Trained(checkpoint=checkpoint.path, steps=recipe.steps, scores=run.scores)


@dataclass(slots=True)
class _Run:
    """What all stages share; scores are the last ones by set."""

    folder: Path
    recipe: TrainRecipe
    workers: int
    parallel: Parallel
    sets: Mapping[str, EvaluationSet]
    log: EventLog
    scores: dict[str, dict[str, Any]]
    _is_started: bool = False

    def train(self, plan: StagePlan, checkpoint: Checkpoint | None) -> None:
        """Train through a stage, from its first step or from a checkpoint inside it."""
        recipe, stage = self.recipe, plan.stage
        if stage.method == "grpo":
            self._train_grpo(plan, checkpoint)
            return
        done = max(0, checkpoint.progress.step - plan.first_step) if checkpoint else 0
        torch.manual_seed(recipe.seed)
        if checkpoint is None:
            model, processor = load_start(recipe)
        else:
            model, processor = load_weights(checkpoint.path, stage)
        self._start(model, plan.first_step + done)
        start_stage(model, stage, is_from_checkpoint=recipe.base is not None)
        if not done and stage.point_queries_at_map:
            encoder = model.model.visual.compare_visual_encoder
            assert encoder is not None
            point_queries_at_map(encoder)
        if done and checkpoint is not None:
            restore_adapter(model, checkpoint.path)
        builder = sample_builder(
            model.config,
            processor,
            stage.image_size or recipe.image_size,
            limits=stage.limits,
            packing=stage.packing,
        )
        self.log({"event": "stage", "name": stage.name, "step": plan.first_step + done})
        trainer = StageTrainer(
            StageRun(
                self.folder,
                recipe,
                plan,
                processor,
                builder,
                lambda scored, step: self._evaluate(plan, processor, scored, step),
                self.log,
            ),
            model,
            stage_arguments(
                recipe, plan, self.folder, workers=self.workers, parallel=self.parallel
            ),
            _stage_data(recipe, plan, builder),
        )
        trainer.train(str(checkpoint.path) if done and checkpoint else None)

    def _train_grpo(self, plan: StagePlan, checkpoint: Checkpoint | None) -> None:
        """Train through a stage of GRPO; the run's start is scored and becomes a checkpoint before.

        Such a stage is scored at its end alone, so without that nobody saw what it brought.
        """
        from adcopilot_edge.training.grpo_stage import train_grpo_stage, wait_for_all

        self.log({"event": "stage", "name": plan.stage.name, "step": plan.first_step})
        if checkpoint is None:
            self._write_start(plan, wait_for_all)
            checkpoint = find_checkpoint(self.folder)
            assert checkpoint is not None

        def score(ended: Path) -> None:
            model, processor = load_weights(ended, plan.stage)
            self._evaluate(plan, processor, model.to(PartialState().device), plan.last_step)

        train_grpo_stage(
            self.recipe, plan, checkpoint.path, self.folder, score=score, report=self.log
        )

    def _write_start(self, plan: StagePlan, wait: Callable[[], None]) -> None:
        """Score the run's start and write it as a checkpoint; nothing of the model is kept."""
        model, processor = load_start(self.recipe)
        self._evaluate(plan, processor, model.to(PartialState().device), plan.first_step)
        is_main = is_main_process()
        start = Progress(0, plan.number, 0)
        with write_checkpoint(
            self.folder, start, self.recipe, is_writer=is_main, wait=wait
        ) as target:
            if is_main:
                model.save_pretrained(target)
                processor.save_pretrained(target)

    def _start(self, model: nn.Module, step: int) -> None:
        if not self._is_started:
            count = sum(parameter.numel() for parameter in model.parameters())
            steps = self.recipe.steps
            self.log({"event": "start", "step": step, "steps": steps, "parameters": count})
            self._is_started = True

    def _evaluate(
        self, plan: StagePlan, processor: ADCopilotProcessor, model: nn.Module, step: int
    ) -> None:
        config = model.config
        assert isinstance(config, ADCopilotConfig)
        builder = sample_builder(
            config, processor, self.recipe.image_size, limits=plan.stage.limits
        )
        scored = score_sets(
            model,
            processor,
            builder,
            self.sets,
            has_text=plan.stage.has_text,
            batch_size=plan.stage.device_batch_size or _EVALUATION_BATCH,
            num_answers=self.recipe.schedule.evaluation_answers,
            margin=config.vision.compare_map_margin,
            grpo=plan.stage.grpo,
        )
        self.scores.update(scored.scores)
        self.log({"event": "evaluation", "step": step, "scores": scored.scores})
        self.log.show(scored.sheets, step)


def with_known_steps(recipe: TrainRecipe) -> TrainRecipe:
    """The recipe with steps in place of epochs, by the data of each stage.

    Raises:
        ConfigError: The data has no end, or its folder is missing.
        DatasetError: It holds nothing that can be used.
    """
    stages = []
    for stage in recipe.stages:
        if not stage.steps:
            stage = resolve_steps(stage, open_sources(stage, 0, recipe.seed), recipe.seed)
        stages.append(stage)
    return recipe.model_copy(update={"stages": tuple(stages)})


def _stage_data(recipe: TrainRecipe, plan: StagePlan, builder: SampleBuilder) -> StageData:
    first = first_number(recipe.seed, plan.first_sample)
    sources = open_sources(plan.stage, first, recipe.seed)
    mixture = mixture_of(plan.stage, sources, recipe.seed)
    return StageData(builder, sources, mixture, count=plan.stage.steps * plan.stage.batch_size)
