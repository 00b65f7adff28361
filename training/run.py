"""A run through a recipe's stages, resumable at any step, on one device or many.

Each stage is a run of its own that starts from the checkpoint of the one before, so an interrupted
run and an uninterrupted one load the same files. Batch i of a stage depends on i alone. Reports
through a callback; prints nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.arguments import Parallel, stage_arguments
from adcopilot_edge.training.checkpoint import (
    Checkpoint,
    check_recipe,
    check_run,
    find_checkpoint,
    remove_leftovers,
)
from adcopilot_edge.training.data import SampleBuilder, sample_builder
from adcopilot_edge.training.evaluation import quick_scores
from adcopilot_edge.training.event_log import EventLog
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.parts import train_only
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.recipe import TrainRecipe
from adcopilot_edge.training.schedule import StagePlan, plan_stages
from adcopilot_edge.training.scratch import build_config, build_processor
from adcopilot_edge.training.stage_data import (
    StageData,
    first_number,
    mixture_of,
    open_sources,
)
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.training.trainer import Report, StageRun, StageTrainer
from adcopilot_edge.types import LabelledPair

# Below those of training pairs.
_FIRST_EVALUATION_SEED = 500_000


@dataclass(frozen=True, slots=True)
class Trained:
    """The end of a run: where the checkpoint lies and the last scores by set of pairs."""

    checkpoint: Path
    steps: int
    scores: dict[str, dict[str, Any]]


def train(
    recipe: TrainRecipe,
    run: Path,
    *,
    resume: bool = False,
    workers: int = 1,
    parallel: Parallel = "ddp",
    held_out: Mapping[str, Sequence[LabelledPair]] | None = None,
    report: Report = lambda event: None,
) -> Trained:
    """Train by ``recipe`` in the folder ``run``.

    held_out: further sets of pairs, by name, to score beside the synthetic one. report: called
    with one JSON-able event at a time; the same events are appended to ``run/log.jsonl``.

    Raises ConfigError when ``run`` holds a checkpoint and ``resume`` is false, or when it was made
    by another recipe.
    """
    run.mkdir(parents=True, exist_ok=True)
    checkpoint = check_run(run, resume=resume)
    if checkpoint is not None:
        check_recipe(checkpoint, recipe)
    remove_leftovers(run)
    log = EventLog(run, report)
    sets = {"synthetic": _evaluation_pairs(recipe), **(held_out or {})}
    scores: dict[str, dict[str, Any]] = {}
    step = checkpoint.progress.step if checkpoint else 0
    model, processor = load(checkpoint.path) if checkpoint else create(recipe)
    log({"event": "start", "step": step, "steps": recipe.steps, "parameters": _count(model)})
    for plan in plan_stages(recipe):
        if step >= plan.last_step:
            continue
        if plan.first_step and step == plan.first_step:
            assert checkpoint is not None
            model, processor = load(checkpoint.path)
        builder = sample_builder(model.config, processor, recipe.image_size)

        def evaluate(
            model: nn.Module, at: int, plan: StagePlan = plan, builder: SampleBuilder = builder
        ) -> None:
            for name, pairs in sets.items():
                found = quick_scores(model, builder, pairs, has_text=plan.stage.loss.has_text)
                scores[name] = found.to_json()
            log({"event": "evaluation", "step": at, "scores": dict(scores)})

        train_only(model, plan.stage.trains)
        if step == plan.first_step and plan.stage.point_queries_at_map:
            _point_queries_at_map(model)
        trainer = StageTrainer(
            StageRun(run, recipe, plan, processor, builder, evaluate, log),
            model,
            stage_arguments(recipe, plan, run, workers=workers, parallel=parallel),
            _stage_data(recipe, plan, builder),
        )
        log({"event": "stage", "name": plan.stage.name, "step": step})
        is_inside = checkpoint is not None and step > plan.first_step
        trainer.train(str(checkpoint.path) if is_inside and checkpoint else None)
        checkpoint = find_checkpoint(run)
        assert checkpoint is not None
        step = checkpoint.progress.step
    assert checkpoint is not None
    return Trained(checkpoint=checkpoint.path, steps=recipe.steps, scores=scores)


def create(recipe: TrainRecipe) -> tuple[ADCopilotForConditionalGeneration, ADCopilotProcessor]:
    """The model of ``recipe`` before its first step, from scratch."""
    assert recipe.model is not None
    torch.manual_seed(recipe.seed)
    processor = build_processor(recipe.model, recipe.image_size)
    config = build_config(recipe.model, processor.tokenizer)
    return ADCopilotForConditionalGeneration(config), processor


def load(checkpoint: Path) -> tuple[ADCopilotForConditionalGeneration, ADCopilotProcessor]:
    """The model and the processor in a checkpoint's folder."""
    model = ADCopilotForConditionalGeneration.from_pretrained(checkpoint)
    return model, ADCopilotProcessor.from_pretrained(checkpoint)


def _stage_data(recipe: TrainRecipe, plan: StagePlan, builder: SampleBuilder) -> StageData:
    sources = open_sources(plan.stage, first_number(recipe.seed, plan.first_sample))
    mixture = mixture_of(plan.stage, sources, recipe.seed)
    return StageData(builder, sources, mixture, count=plan.stage.steps * plan.stage.batch_size)


def _point_queries_at_map(model: ADCopilotForConditionalGeneration) -> None:
    encoder = model.model.visual.compare_visual_encoder
    if encoder is None or encoder.anomaly_map is None:
        raise ConfigError(
            "point_queries_at_map needs a Comparison Encoder with compare_anomaly_map"
        )
    encoder.point_queries_at_map()


def _evaluation_pairs(recipe: TrainRecipe) -> list[LabelledPair]:
    return [
        generate_pair(_FIRST_EVALUATION_SEED + index, size=recipe.image_size).to_labelled()
        for index in range(recipe.schedule.evaluation_pairs)
    ]


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
