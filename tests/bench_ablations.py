"""Train a small model with one choice changed at a time, several seeds each, and compare.

Every run has the same number of optimizer steps and sees the same number of pairs; a variant that
leaves out a stage gives its steps to the last one. Scores are taken on pairs that no run trained
on. Runs that are done are kept, so the program goes on where it was stopped.

    python tests/bench_ablations.py --out runs/ablations --seeds 3
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.training.recipe import TrainRecipe, load_recipe
from adcopilot_edge.training.run import train
from adcopilot_edge.training.stage_recipe import LossRecipe, StageRecipe

Change = Callable[[TrainRecipe], TrainRecipe]

ENCODER = ("comparison", "queries")
FIGURES = ("verdict", "map_verdict", "map_miou", "text_miou")


def main() -> None:
    options = parse_options()
    recipe = load_recipe(options.recipe)
    if options.steps:
        recipe = recipe.with_steps(options.steps)
    for seed in range(options.seeds):
        for name, change in VARIANTS.items():
            if not options.only or name in options.only:
                run_once(recipe, change, run_folder(options.out, name, seed), seed)
                write(options.out / "table.md", table(options.out, options.seeds))
    print(table(options.out, options.seeds))


def run_folder(out: Path, name: str, seed: int) -> Path:
    """Where a variant's run with ``seed`` lies."""
    return out / f"{name.replace(':', '').replace(' ', '-')}-{seed}"


def run_once(recipe: TrainRecipe, change: Change, folder: Path, seed: int) -> None:
    """Train the variant in ``folder`` and leave its scores there, if they are not there yet."""
    scores = folder / "scores.json"
    if scores.exists():
        return
    changed = change(recipe.model_copy(update={"seed": seed}))
    assert changed.steps == recipe.steps, "all variants have the same budget"
    print(f"{folder.name}: {changed.steps} steps", flush=True)
    trained = train(changed, folder, resume=folder.exists())
    write(scores, json.dumps(trained.scores["synthetic"], indent=1))


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with atomic_write(path) as stream:
        stream.write(text.encode())


def table(folder: Path, num_seeds: int) -> str:
    """Mean and spread of every variant, as a table in Markdown."""
    lines = ["| " + " | ".join(("variant", "runs", *FIGURES)) + " |"]
    lines.append("| --- " * (len(FIGURES) + 2) + "|")
    for name in VARIANTS:
        paths = [run_folder(folder, name, seed) / "scores.json" for seed in range(num_seeds)]
        runs = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
        cells = [spread([run[figure] for run in runs]) for figure in FIGURES]
        lines.append("| " + " | ".join((name, str(len(runs)), *cells)) + " |")
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float | None]) -> str:
    """Mean and standard deviation, or a dash where there is nothing to measure."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return f"{mean(known):.3f}" + (f" ± {stdev(known):.3f}" if len(known) > 1 else "")


def with_model(**changes: Any) -> Change:
    """Another setting of the model."""

    def change(recipe: TrainRecipe) -> TrainRecipe:
        assert recipe.model is not None
        return recipe.model_copy(update={"model": recipe.model.model_copy(update=changes)})

    return change


def without_map_loss(recipe: TrainRecipe) -> TrainRecipe:
    """The map has no say: what it alone teaches is left out, and the head with it."""
    recipe = with_model(compare_anomaly_map=False, compare_map_types=())(recipe)
    return with_stages(recipe, [stage for stage in recipe.stages if stage.loss.has_text])


def without_encoder(recipe: TrainRecipe) -> TrainRecipe:
    """Stock Qwen2.5-VL: the language model has to compare the two images by itself."""
    recipe = with_model(compare_token_size=0, compare_query_grid=False)(without_map_loss(recipe))
    stages = tuple(
        stage.model_copy(
            update={"trains": tuple(part for part in stage.trains if part not in ENCODER)}
        )
        for stage in recipe.stages
    )
    return recipe.model_copy(update={"stages": stages})


def without_first_stage(recipe: TrainRecipe) -> TrainRecipe:
    """Everything is learned together, from the first step."""
    return with_stages(recipe, recipe.stages[-1:])


def with_stages(recipe: TrainRecipe, stages: Sequence[StageRecipe]) -> TrainRecipe:
    """Only ``stages``, the last one longer by the steps that are missing."""
    has_map = recipe.model is not None and recipe.model.compare_anomaly_map
    kept = [stage if has_map else _without_map(stage) for stage in stages]
    missing = recipe.steps - sum(stage.steps for stage in kept)
    kept[-1] = kept[-1].model_copy(update={"steps": kept[-1].steps + missing})
    return recipe.model_copy(update={"stages": tuple(kept)})


def _without_map(stage: StageRecipe) -> StageRecipe:
    loss = LossRecipe(**{**stage.loss.model_dump(), "anomaly_map": 0.0, "map_types": 0.0})
    return stage.model_copy(update={"loss": loss, "point_queries_at_map": False})


VARIANTS: dict[str, Change] = {
    "the recipe as it is": lambda recipe: recipe,
    "no Comparison Encoder": without_encoder,
    "no anomaly-map loss": without_map_loss,
    "no stage 0": without_first_stage,
    "no rotary terms in the encoder": with_model(compare_rope=False),
    "queries without a place": with_model(compare_query_grid=False),
    "25 comparison tokens": with_model(compare_token_size=25),
    "49 comparison tokens": with_model(compare_token_size=49),
    "100 comparison tokens": with_model(compare_token_size=100),
    "positions: shared": with_model(compare_position_mode="shared"),
    "positions: diagonal": with_model(compare_position_mode="diagonal"),
    "positions: diagonal_scaled": with_model(compare_position_mode="diagonal_scaled"),
    "plus residual": with_model(compare_minus_residual=False),
}


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="ablation", help="a recipe's name or a TOML file")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of every run, instead of the recipe's")
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS))
    return parser.parse_args()


if __name__ == "__main__":
    main()
