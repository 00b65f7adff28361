"""``train``: a model by a recipe, with progress, periodic figures and checkpoints."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adcopilot_edge.commands.options import Json
from adcopilot_edge.commands.preview import draw_preview
from adcopilot_edge.commands.printing import print_json

if TYPE_CHECKING:
    from adcopilot_edge.types import LabelledPair


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (nano) or a TOML file.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/NAME.")] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Optimizer steps in all; every stage shrinks in proportion.", min=1),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes that generate pairs.", min=0)] = 1,
    eval_deeppcb: Annotated[
        Path | None, typer.Option(help="DeepPCB's folder: score real tiles at each evaluation.")
    ] = None,
    preview: Annotated[
        Path | None, typer.Option(help="Only draw a sheet of training pairs into this picture.")
    ] = None,
    changes: Annotated[
        Path | None, typer.Option(help="With --preview: pairs made from this folder's photographs.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a model from scratch on generated pairs.

    Ctrl-C loses nothing before the last checkpoint; --resume sees the same pairs as an
    uninterrupted run. The run's folder gets checkpoint/ (a Hugging Face folder to export) and
    log.jsonl.

    Example: adcopilot-edge train nano --out runs/nano
    """
    if preview is not None:
        draw_preview(preview, changes)
        if as_json:
            print_json({"preview": str(preview)})
        return
    from adcopilot_edge.errors import ConfigError, MissingExtraError

    if changes is not None:
        raise ConfigError("--changes goes with --preview; add --preview SHEET.png")
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(feature="train", extra="train", package=package)
    from adcopilot_edge.training.loop import train as run_training
    from adcopilot_edge.training.recipe import load_recipe

    chosen = load_recipe(recipe)
    if steps is not None:
        chosen = chosen.with_steps(steps)
    held_out: dict[str, list[LabelledPair]] = {}
    if eval_deeppcb is not None:
        from adcopilot_edge.calibration.deeppcb import read_tiles

        held_out["deeppcb"] = read_tiles(
            eval_deeppcb, tile=chosen.image_size, count=chosen.schedule.evaluation_pairs
        )
    run = out if out is not None else Path("runs") / chosen.name
    with _Progress(chosen.steps) as progress:
        trained = run_training(
            chosen,
            run,
            resume=resume,
            workers=workers,
            held_out=held_out,
            report=progress.report,
        )
    if as_json:
        print_json(
            {
                "checkpoint": str(trained.checkpoint),
                "steps": trained.steps,
                "scores": trained.scores,
            }
        )
        return
    print(f"trained {trained.steps} steps: {trained.checkpoint}")
    for name, scores in trained.scores.items():
        print(_scores_line(name, scores))
    print(f"next: adcopilot-edge export {trained.checkpoint} --out bundle")


class _Progress:
    """A progress bar with time left on a terminal; a line an event elsewhere. All on stderr."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            Remaining(),
            TextColumn("{task.fields[loss]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("train", total=total, loss="")

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def report(self, event: dict[str, Any]) -> None:
        """Show one event of the training loop."""
        if event["event"] == "evaluation":
            for name, scores in event["scores"].items():
                self._say(f"step {event['step']}: {_scores_line(name, scores)}")
        elif event["event"] == "stage":
            self._say(f"stage {event['name']} from step {event['step']}")
        elif event["event"] == "start":
            self._bar.update(self._task, completed=event["step"])
            self._say(f"{event['parameters']:,} parameters, from step {event['step']}")
        elif event["event"] == "step":
            losses = " ".join(f"{name} {value:.3f}" for name, value in event["loss"].items())
            if self._console.is_terminal:
                self._bar.update(self._task, completed=event["step"], loss=losses)
            else:
                self._say(f"step {event['step']}: {event['pairs_per_s']} pairs/s, {losses}")

    def _say(self, line: str) -> None:
        self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)


def _scores_line(name: str, scores: dict[str, Any]) -> str:
    figures = {
        "verdict": scores["verdict"],
        "map verdict": scores["map_verdict"],
        "map patch IoU": scores["map_iou"],
    }
    known = [f"{label} {value:.3f}" for label, value in figures.items() if value is not None]
    return f"{name} ({scores['num_pairs']} pairs): {', '.join(known)}"
