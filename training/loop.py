"""The training loop: one readable pass from recipe to checkpoint, resumable at any step.

Sample i of a run is the same however often the run was interrupted, so a resumed run sees what an
uninterrupted one would have seen. Reports through a callback; prints nothing.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Subset

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.base import load_start
from adcopilot_edge.training.checkpoint import (
    TrainingState,
    find_checkpoint,
    load_state,
    save_checkpoint,
)
from adcopilot_edge.training.data import Batch, SampleBuilder, sample_builder
from adcopilot_edge.training.evaluation import quick_scores
from adcopilot_edge.training.evaluation_data import (
    evaluation_sets,
    open_folders,
    write_holdouts,
)
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.objective import compute_losses, run_batch, weighted_sum
from adcopilot_edge.training.parts import train_only, trainable
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.recipe import OptimizerRecipe, TrainRecipe
from adcopilot_edge.training.stage_data import StageData, first_number, mixture_of, open_sources
from adcopilot_edge.training.stage_recipe import StageRecipe
from adcopilot_edge.types import LabelledPair

Report = Callable[[dict[str, Any]], None]


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
    checkpoint = find_checkpoint(run)
    if checkpoint is not None and not resume:
        raise ConfigError(f"{run} holds a checkpoint; pass --resume or choose another --out")
    torch.manual_seed(recipe.seed)
    model, processor = _load(checkpoint) if checkpoint else load_start(recipe)
    builder = sample_builder(model.config, processor, recipe.image_size)
    resumed = load_state(checkpoint, recipe) if checkpoint else TrainingState(step=0, optimizer={})

    folders = open_folders(recipe)
    sets = {**evaluation_sets(recipe, folders), **(held_out or {})}
    write_holdouts(folders, run)
    log = _log_to(run / "log.jsonl", report)
    for folder in folders.values():
        log({"event": "folder", **folder.to_json()})
    log(
        {
            "event": "start",
            "step": resumed.step,
            "steps": recipe.steps,
            "parameters": _count(model),
        }
    )
    scores: dict[str, dict[str, Any]] = {}
    model.train()
    schedule = recipe.schedule
    for plan in plan_stages(recipe):
        stage = plan.stage
        if resumed.step >= plan.last_step:
            continue
        done = max(0, resumed.step - plan.first_step)
        train_only(model, stage.trains)
        if not done and stage.point_queries_at_map:
            _point_queries_at_map(model)
        optimizer = _optimizer(model, stage, recipe.optimizer)
        if done:
            optimizer.load_state_dict(resumed.optimizer)
        log({"event": "stage", "name": stage.name, "step": plan.first_step + done})
        started = time.monotonic()
        for index, batch in enumerate(_batches(recipe, plan, builder, done, workers), done + 1):
            losses = _step(model, optimizer, batch, stage, recipe.optimizer, index)
            step = plan.first_step + index
            is_last = index == stage.steps
            if step % schedule.log_every_steps == 0 or is_last:
                rate = (index - done) * stage.batch_size / (time.monotonic() - started)
                log({"event": "step", "step": step, "pairs_per_s": round(rate, 2), "loss": losses})
            if step % schedule.evaluate_every_steps == 0 or is_last:
                scores = {
                    name: quick_scores(
                        model, builder, pairs, has_text=stage.loss.has_text
                    ).to_json()
                    for name, pairs in sets.items()
                }
                log({"event": "evaluation", "step": step, "scores": scores})
            if step % schedule.checkpoint_every_steps == 0 or is_last:
                state = TrainingState(step=step, optimizer=optimizer.state_dict())
                path = save_checkpoint(run, model, processor, recipe, state)
                log({"event": "checkpoint", "step": step, "path": str(path)})
    saved = find_checkpoint(run)
    assert saved is not None
    return Trained(checkpoint=saved, steps=recipe.steps, scores=scores)


def _load(checkpoint: Path) -> tuple[ADCopilotForConditionalGeneration, ADCopilotProcessor]:
    model = ADCopilotForConditionalGeneration.from_pretrained(checkpoint)
    return model, ADCopilotProcessor.from_pretrained(checkpoint)


@dataclass(frozen=True, slots=True)
class StagePlan:
    """Where a stage lies in a run: steps done before it and at its end, samples before it."""

    stage: StageRecipe
    first_step: int
    last_step: int
    first_sample: int


def plan_stages(recipe: TrainRecipe) -> list[StagePlan]:
    """The stages of ``recipe`` one behind the other."""
    plans: list[StagePlan] = []
    step = sample = 0
    for stage in recipe.stages:
        plans.append(StagePlan(stage, step, step + stage.steps, sample))
        step += stage.steps
        sample += stage.steps * stage.batch_size
    return plans


def _batches(
    recipe: TrainRecipe, plan: StagePlan, builder: SampleBuilder, done: int, workers: int
) -> DataLoader[Batch]:
    """The stage's batches from its step ``done`` on; a batch depends on its step alone."""
    size = plan.stage.batch_size
    total = plan.stage.steps * size
    first = first_number(recipe.seed, plan.first_sample)
    sources = open_sources(plan.stage, first, recipe.seed)
    mixture = mixture_of(plan.stage, sources, recipe.seed)
    dataset = StageData(builder, sources, mixture, count=total)
    # The samples of the data set leave the loader as batches.
    remaining: Dataset[Any] = Subset(dataset, range(done * size, total))
    return DataLoader(
        remaining,
        batch_size=size,
        num_workers=workers,
        collate_fn=builder.batch,
        prefetch_factor=4 if workers else None,
    )


def _step(
    model: ADCopilotForConditionalGeneration,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    stage: StageRecipe,
    limits: OptimizerRecipe,
    step: int,
) -> dict[str, float]:
    """One optimizer step. Returns the losses; raises on a loss that is no number."""
    for group in optimizer.param_groups:
        group["lr"] = _learning_rate(step, stage)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = run_batch(model, batch, has_text=stage.loss.has_text)
    losses = compute_losses(outputs, batch.targets)
    total = weighted_sum(losses, stage.loss)
    if not torch.isfinite(total):
        raise ConfigError(
            f"the loss is {total.item()} at step {step} of stage {stage.name}; "
            "lower its learning_rate and start anew"
        )
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    learning = [item for group in optimizer.param_groups for item in group["params"]]
    torch.nn.utils.clip_grad_norm_(learning, limits.max_grad_norm)
    optimizer.step()
    return {name: round(loss.item(), 4) for name, loss in losses.items()}


def _learning_rate(step: int, stage: StageRecipe) -> float:
    """Linear warm-up, then a cosine to a tenth of the peak at the stage's last step."""
    peak, warmup = stage.learning_rate, stage.warmup_steps
    if step <= warmup:
        return peak * step / max(1, warmup)
    progress = (step - warmup) / max(1, stage.steps - warmup)
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))


def _point_queries_at_map(model: ADCopilotForConditionalGeneration) -> None:
    encoder = model.model.visual.compare_visual_encoder
    if encoder is None or encoder.anomaly_map is None:
        raise ConfigError(
            "point_queries_at_map needs a Comparison Encoder with compare_anomaly_map"
        )
    encoder.point_queries_at_map()


def _optimizer(
    model: ADCopilotForConditionalGeneration, stage: StageRecipe, recipe: OptimizerRecipe
) -> torch.optim.Optimizer:
    """AdamW over what learns; norms, biases and the learned queries without weight decay."""
    matrices = [p for name, p in trainable(model) if p.ndim >= 2 and "query" not in name]
    others = [p for name, p in trainable(model) if p.ndim < 2 or "query" in name]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": recipe.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=stage.learning_rate,
        betas=(0.9, 0.98),
    )


def _count(model: ADCopilotForConditionalGeneration) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _log_to(path: Path, report: Report) -> Report:
    """Append each event to ``path`` as a JSON line and pass it on."""

    def log(event: dict[str, Any]) -> None:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event) + "\n")
        report(event)

    return log
