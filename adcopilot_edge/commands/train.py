"""``train``: a model by a recipe, with progress, periodic figures and checkpoints."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adcopilot_edge.commands.options import Json
from adcopilot_edge.commands.preview import draw_preview
from adcopilot_edge.commands.printing import print_json
from adcopilot_edge.commands.train_curves import draw_runs
from adcopilot_edge.commands.train_plan import print_dry_run
from adcopilot_edge.commands.train_progress import TrainProgress, scores_line
from adcopilot_edge.commands.train_recipe import DEFAULT_WORKERS, read_recipe, train_words

if TYPE_CHECKING:
    from adcopilot_edge.types import LabelledPair


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (nano) or a TOML file.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/NAME.")] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Optimizer steps in all; every stage shrinks in proportion.", min=1),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="Checkpoint in place of the recipe's: a folder, a hub id, or embedded."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="KIND=FOLDER: another folder for the recipe's data of a kind."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="In place of the recipe's; other pairs and weights.", min=0)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")
    ] = False,
    workers: Annotated[
        int, typer.Option(help="Processes that make or read samples, for each device.", min=0)
    ] = DEFAULT_WORKERS,
    parallel: Annotated[
        str,
        typer.Option(
            help="How devices share the model under torchrun: ddp, each has all of it, or fsdp, "
            "each has a part."
        ),
    ] = "ddp",
    eval_deeppcb: Annotated[
        Path | None, typer.Option(help="DeepPCB's folder: score real tiles at each evaluation.")
    ] = None,
    preview: Annotated[
        Path | None, typer.Option(help="Only draw the first pairs of the recipe into this picture.")
    ] = None,
    changes: Annotated[
        Path | None, typer.Option(help="With --preview: pairs made from this folder's photographs.")
    ] = None,
    curves: Annotated[
        Path | None,
        typer.Option(help="Only draw the course of the run, scores and losses, into this picture."),
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(help="With --curves: another run's folder; repeatable."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what each stage trains and takes; run nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model by a recipe, on one device or, started by torchrun, on many.

    Ctrl-C loses nothing before the last checkpoint; --resume sees the same pairs as an
    uninterrupted run. The run's folder gets checkpoint-N/, the last two (Hugging Face folders to
    export), checkpoint, a link to the last, log.jsonl, tensorboard/ and samples/, pictures of
    evaluation pairs.

    Example: adcopilot-edge train nano --out runs/nano

    Example: adcopilot-edge train finetune --data folder=parts --out runs/mine

    Example: torchrun --nproc-per-node 4 -m adcopilot_edge train recipe.toml --parallel fsdp
    """
    from adcopilot_edge.errors import ConfigError, MissingExtraError

    if beside and curves is None:
        raise ConfigError("--beside goes with --curves; add --curves PICTURE.png")
    if changes is not None and preview is None:
        raise ConfigError("--changes goes with --preview; add --preview SHEET.png")
    for package in ("torch", "transformers", "accelerate", "tensorboard"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(feature="train", extra="train", package=package)
    chosen = read_recipe(recipe, base=base, data=data or (), seed=seed, steps=steps)
    run = out if out is not None else Path("runs") / chosen.name
    if preview is not None:
        draw_preview(preview, chosen, changes)
        if as_json:
            print_json({"preview": str(preview)})
        return
    if curves is not None:
        draw_runs([run, *(beside or [])], curves)
        if as_json:
            print_json({"curves": str(curves)})
        return
    from adcopilot_edge.training.arguments import is_main_process, leave_group
    from adcopilot_edge.training.run import train as run_training

    if parallel not in ("ddp", "fsdp"):
        raise ConfigError(f"--parallel is ddp or fsdp, got {parallel!r}")
    if dry_run:
        words = train_words(
            recipe,
            base=base,
            data=data or (),
            seed=seed,
            steps=steps,
            out=out,
            workers=workers,
            eval_deeppcb=eval_deeppcb,
        )
        print_dry_run(words, chosen, as_json=as_json)
        return
    held_out: dict[str, list[LabelledPair]] = {}
    if eval_deeppcb is not None:
        from adcopilot_edge.calibration.deeppcb import read_tiles

        held_out["deeppcb"] = read_tiles(
            eval_deeppcb, tile=chosen.image_size, count=chosen.schedule.evaluation_pairs
        )
    with TrainProgress() as progress:
        trained = run_training(
            chosen,
            run,
            resume=resume,
            workers=workers,
            parallel="fsdp" if parallel == "fsdp" else "ddp",
            held_out=held_out,
            report=progress.report,
        )
    leave_group()
    if not is_main_process():
        return
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
        print(scores_line(name, scores))
    print(f"next: adcopilot-edge export {trained.checkpoint} --out bundle")
