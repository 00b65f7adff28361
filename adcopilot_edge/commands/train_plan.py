"""How ``train --dry-run`` looks: what each stage trains, its memory, and what starts it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from adcopilot_edge.commands.printing import print_fact, print_json, print_rows

if TYPE_CHECKING:
    from adcopilot_edge.training.dry_run import StageDryRun
    from adcopilot_edge.training.recipe import TrainRecipe

_GIB = 1 << 30


def print_dry_run(words: Sequence[str], recipe: TrainRecipe, *, as_json: bool) -> None:
    """Print the plan of ``recipe``, which ``train`` gets by ``words``; raises as ``dry_run``.

    A checkpoint that is not there is stood for by the recipe's ``shape``.
    """
    from adcopilot_edge.training.dry_run import DEVICES, commands, dry_run

    stages = dry_run(recipe)
    can_shard = all(stage.can_shard for stage in recipe.stages)
    fitting = [number for number in DEVICES if all(map(partial(_fits, number), stages))]
    starts = commands(words, parallel="fsdp" if can_shard else "ddp", devices=fitting)
    if as_json:
        print_json(
            {
                "name": recipe.name,
                "stages": [stage.to_json() for stage in stages],
                "commands": {str(devices): lines for devices, lines in starts.items()},
            }
        )
        return
    for stage in stages:
        _print_stage(recipe.name, stage)
    for number in DEVICES:
        if number not in fitting:
            print_fact("no plan", f"for {number} GPUs: a step does not divide into as many")
    for devices, lines in starts.items():
        print_fact("run", f"on {devices} GPU{'s' if devices > 1 else ''}")
        for line in lines:
            print(f"  {line}")
    if can_shard:
        print("--parallel ddp, where the model fits whole")


def _fits(number: int, stage: StageDryRun) -> bool:
    return any(item.devices == number for item in stage.memory)


def _print_stage(recipe: str, stage: StageDryRun) -> None:
    print_fact("stage", f"{stage.name} of {recipe}, {stage.method}")
    print_fact("length", f"{stage.steps:,} steps, {stage.samples:,} samples")
    print_fact("parameters", f"{stage.total:,}, trained {stage.learning:,}")
    print_rows(
        [
            ("part", "all", "in full", "adapters"),
            *(
                (part.part, f"{part.total:,}", f"{part.full:,}", f"{part.adapters:,}")
                for part in stage.parts
            ),
        ]
    )
    shape = stage.sample
    print_fact(
        "memory",
        f"GiB a GPU, estimated for samples of two images of {shape.patches} patches and "
        f"{shape.tokens} tokens in all",
    )
    print_rows(
        [
            (
                "GPUs",
                "accumulate",
                "weights",
                "gradients",
                "optimizer",
                "copies",
                "activations",
                "total",
            ),
            *(
                (
                    f"{item.devices} {item.parallel if item.devices > 1 else ''}".strip(),
                    str(item.accumulation),
                    *(
                        f"{size / _GIB:.2f}"
                        for size in (
                            item.weights,
                            item.gradients,
                            item.optimizer,
                            item.copies,
                            item.activations,
                            item.total,
                        )
                    ),
                )
                for item in stage.memory
            ),
        ]
    )
