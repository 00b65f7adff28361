"""Train a small model with one choice changed at a time, several seeds each, and compare.

Every run has the same number of optimizer steps and sees the same number of pairs; a variant that
leaves out a stage trains everything together for all of the steps. With ``--think-from`` the runs
are stage 3 behind a checkpoint that has boxes in words, with and without the reward for them.
Scores are taken on pairs that no run trained on. Runs that are done are kept, so the program goes
on where it was stopped, and several may share the work.

    python tests/bench_ablations.py --out runs/ablations --share 1/2 &
    python tests/bench_ablations.py --out runs/ablations --share 2/2
    python tests/bench_ablations.py --out runs/ablations --picture docs/ablations.png
    python tests/bench_ablations.py --out runs/rewards --think-from runs/nano-types/checkpoint
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.training.recipe import BaseRecipe, TrainRecipe, load_recipe
from adcopilot_edge.training.run import train
from adcopilot_edge.training.stage_recipe import LossRecipe

Change = Callable[[TrainRecipe], TrainRecipe]
Scores = dict[str, Any]
Rows = dict[str, list[Scores]]
"""The scores of each variant's runs."""

ENCODER = ("comparison", "queries")
ABLATION = "ablation"
THINK = "nano-think"
BEFORE = "before stage 3"
STAGE_3 = "stage 3"

FIGURES: dict[str, Callable[[Scores], float | None]] = {
    "verdict": lambda run: run["verdict"],
    "verdict by the map": lambda run: run["map_verdict"],
    "map, mIoU": lambda run: run["map_miou"],
    "types named": lambda run: run["token_accuracy"].get("classify"),
    "boxes in words, tokens": lambda run: run["token_accuracy"].get("locate"),
    "boxes in words, mIoU": lambda run: run["text_miou"],
}


def main() -> None:
    options = parse_options()
    recipe = thinking(options.think_from) if options.think_from else load_recipe(options.recipe)
    changes = REWARDS if options.think_from else CHANGES
    if options.steps:
        recipe = recipe.with_steps(options.steps)
    first, shares = options.share
    if not options.picture:
        names = [name for name in changes if not options.only or name in options.only]
        runs = [(name, seed) for seed in range(options.seeds) for name in names]
        for name, seed in runs[first - 1 :: shares]:
            changed = changes[name](recipe.model_copy(update={"seed": seed}))
            assert changed.steps == recipe.steps, "all variants have the same budget"
            run_once(changed, run_folder(options.out, name, seed))
            rows = read_rows(options.out, changes, options.seeds)
            write(options.out / "table.md", table(rows).encode())
    rows = read_rows(options.out, changes, options.seeds)
    print(table(rows))
    if options.picture:
        draw(rows, options.picture)


def run_folder(out: Path, name: str, seed: int) -> Path:
    """Where a variant's run with ``seed`` lies."""
    kept = "".join(letter for letter in name if letter.isalnum() or letter in " -")
    return out / f"{kept.replace(' ', '-')}-{seed}"


def run_once(recipe: TrainRecipe, folder: Path) -> None:
    """Train in ``folder`` and leave the scores there, if they are not there yet."""
    scores = folder / "scores.json"
    if scores.exists():
        return
    print(f"{folder.name}: {recipe.steps} steps", flush=True)
    trained = train(recipe, folder, resume=folder.exists())
    (found,) = trained.scores.values()
    write(scores, json.dumps(found, indent=1).encode())


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with atomic_write(path) as stream:
        stream.write(content)


def read_rows(folder: Path, names: Iterable[str], num_seeds: int) -> Rows:
    """The scores of the runs that are done; before those of stage 3 the scores it began at."""
    rows: Rows = {}
    for name in names:
        runs = [run_folder(folder, name, seed) for seed in range(num_seeds)]
        done = [run for run in runs if (run / "scores.json").exists()]
        if name == STAGE_3:
            rows[BEFORE] = [scores_at_start(run) for run in done[:1]]
        rows[name] = [json.loads((run / "scores.json").read_text(encoding="utf-8")) for run in done]
    return rows


def scores_at_start(run: Path) -> Scores:
    """The first evaluation of a run of stage 3, before its first step."""
    for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == "evaluation":
            assert event["step"] == 0, f"{run} was not scored before its first step"
            (found,) = event["scores"].values()
            return dict(found)
    raise AssertionError(f"{run} has no evaluation")


def values_of(runs: Sequence[Scores], figure: str) -> list[float]:
    """A figure of those runs that have it."""
    values = [FIGURES[figure](run) for run in runs]
    return [value for value in values if value is not None]


def table(rows: Rows) -> str:
    """Mean and spread of every variant, as a table in Markdown."""
    lines = ["| " + " | ".join(("variant", "runs", *FIGURES)) + " |"]
    lines.append("| --- " * (len(FIGURES) + 2) + "|")
    for name, runs in rows.items():
        cells = [spread(values_of(runs, figure)) for figure in FIGURES]
        lines.append("| " + " | ".join((name, str(len(runs)), *cells)) + " |")
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation, or a dash where there is nothing to measure."""
    if not values:
        return "-"
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def draw(rows: Rows, path: Path) -> None:
    """Draw a panel for each figure: the runs of each variant, and a line at their mean."""
    from matplotlib.figure import Figure

    shown = Figure(figsize=(3.0 * len(FIGURES), 0.3 * len(rows) + 1), layout="constrained")
    panels = np.atleast_1d(shown.subplots(1, len(FIGURES), sharey=True))
    for panel, figure in zip(panels, FIGURES, strict=True):
        for row, runs in enumerate(rows.values()):
            values = values_of(runs, figure)
            colour = "#1259c3" if row == 0 else "#5b6672"
            panel.plot(values, [row] * len(values), "o", color=colour, alpha=0.6, markersize=5)
            if values:
                panel.plot([mean(values)] * 2, [row - 0.3, row + 0.3], color=colour, linewidth=2)
                if row == 0:
                    panel.axvline(mean(values), color="#c9cfd6", zorder=0)
        panel.set_title(figure, fontsize=10)
        panel.grid(axis="y", color="#eceef1")
        panel.tick_params(labelsize=8)
    panels[0].set_yticks(range(len(rows)), list(rows))
    panels[0].invert_yaxis()
    shown.savefig(path, dpi=110)


def with_model(**changes: Any) -> Change:
    """Another setting of the model."""

    def change(recipe: TrainRecipe) -> TrainRecipe:
        assert recipe.model is not None
        return recipe.model_copy(update={"model": recipe.model.model_copy(update=changes)})

    return change


def without_map_loss(recipe: TrainRecipe) -> TrainRecipe:
    """The map has no say: words alone teach everything, and the head is left out."""
    recipe = with_model(compare_anomaly_map=False, compare_map_types=())(together(recipe))
    (stage,) = recipe.stages
    loss = LossRecipe(**{**stage.loss.model_dump(), "anomaly_map": 0.0, "map_types": 0.0})
    return recipe.model_copy(update={"stages": (stage.model_copy(update={"loss": loss}),)})


def without_encoder(recipe: TrainRecipe) -> TrainRecipe:
    """Stock Qwen2.5-VL: the language model has to compare the two images by itself."""
    recipe = with_model(compare_token_size=0, compare_query_grid=False)(without_map_loss(recipe))
    (stage,) = recipe.stages
    trains = tuple(part for part in stage.trains if part not in ENCODER)
    return recipe.model_copy(update={"stages": (stage.model_copy(update={"trains": trains}),)})


def together(recipe: TrainRecipe) -> TrainRecipe:
    """No stage 0: all parts learn from all losses, from the first step to the last."""
    parts = {part for stage in recipe.stages for part in stage.trains}
    losses = [stage.loss.model_dump() for stage in recipe.stages]
    stage = recipe.stages[-1].model_copy(
        update={
            "trains": tuple(sorted(parts)),
            "steps": recipe.steps,
            "loss": LossRecipe(**{name: max(loss[name] for loss in losses) for name in losses[0]}),
        }
    )
    return recipe.model_copy(update={"stages": (stage,)})


CHANGES: dict[str, Change] = {
    "the recipe as it is": lambda recipe: recipe,
    "no Comparison Encoder": without_encoder,
    "no anomaly-map loss": without_map_loss,
    "no stage 0": together,
    "no rotary terms in the encoder": with_model(compare_rope=False),
    "queries without a place": with_model(compare_query_grid=False),
    "queries told the places of patches": with_model(compare_patch_places=True),
    "tokens told the map": with_model(compare_token_cells=8),
    "25 comparison tokens": with_model(compare_token_size=25),
    "49 comparison tokens": with_model(compare_token_size=49),
    "100 comparison tokens": with_model(compare_token_size=100),
    "positions: shared": with_model(compare_position_mode="shared"),
    "positions: diagonal": with_model(compare_position_mode="diagonal"),
    "positions: diagonal_scaled": with_model(compare_position_mode="diagonal_scaled"),
    "plus residual": with_model(compare_minus_residual=False),
}


def thinking(checkpoint: str) -> TrainRecipe:
    """Stage 3 of the nano behind ``checkpoint``, scored as often and on as much as the others."""
    think, ablation = load_recipe(THINK), load_recipe(ABLATION)
    schedule = ablation.schedule.model_copy(update={"evaluate_every_steps": think.steps})
    return think.model_copy(
        update={"base": BaseRecipe(checkpoint=checkpoint), "schedule": schedule}
    )


def with_rewards(**rewards: float) -> Change:
    """Other weights of the rewards of stage 3."""

    def change(recipe: TrainRecipe) -> TrainRecipe:
        (stage,) = recipe.stages
        assert stage.grpo is not None
        reward = stage.grpo.reward.model_copy(update=rewards)
        grpo = stage.grpo.model_copy(update={"reward": reward})
        return recipe.model_copy(update={"stages": (stage.model_copy(update={"grpo": grpo}),)})

    return change


REWARDS: dict[str, Change] = {
    STAGE_3: with_rewards(),
    "stage 3, no reward for boxes": with_rewards(boxes=0.0),
}


def share(text: str) -> tuple[int, int]:
    """``2/3`` as numbers."""
    number, _, count = text.partition("/")
    if not 1 <= int(number) <= int(count):
        raise argparse.ArgumentTypeError(f"{text} is no share such as 1/2")
    return int(number), int(count)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    begins = parser.add_mutually_exclusive_group()
    begins.add_argument("--recipe", default=ABLATION, help="a recipe's name or a TOML file")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of every run, instead of the recipe's")
    begins.add_argument("--think-from", help="a checkpoint: compare rewards of stage 3 behind it")
    parser.add_argument("--only", nargs="*", choices=[*CHANGES, *REWARDS])
    parser.add_argument("--share", type=share, default=(1, 1), help="I/N: every N-th run, from I")
    parser.add_argument("--picture", type=Path, help="train nothing, draw what is there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
