"""``evaluate``: how well a bundle inspects labelled pairs, beside the plain image difference."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from adcopilot_edge.commands.options import Json, Provider, Threads
from adcopilot_edge.commands.printing import print_json


def evaluate(
    source: Annotated[
        Literal["deeppcb", "synthetic"],
        typer.Argument(help="Where the pairs come from: DeepPCB's folder, or the generator."),
    ],
    data: Annotated[
        Path | None, typer.Argument(help="The folder, for sources that have one.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle to evaluate; by default the one in this package.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="A reference bundle: print verdict flips and lost box overlap."),
    ] = None,
    pairs: Annotated[
        int, typer.Option(help="How many pairs, half of them defective.", min=2)
    ] = 400,
    seed: Annotated[int, typer.Option(help="Which pairs.", min=0)] = 0,
    text: Annotated[
        bool, typer.Option("--text/--no-text", help="Also ask for boxes in words (slower).")
    ] = True,
    as_json: Json = False,
    provider: Provider = "cpu",
    threads: Threads = None,
) -> None:
    """Evaluate a bundle on labelled pairs: verdicts, escapes, overkill, BBox-Mask IoU.

    The plain image difference is run over the same pairs; boxes from the anomaly map and from the
    model's words are reported apart. With --against two bundles are compared pair by pair.

    Example: adcopilot-edge evaluate deeppcb DeepPCB/ --bundle nano-int4/ --against nano-fp32/
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from adcopilot_edge.calibration.evaluate import (
        compare,
        predict,
        predict_difference,
        summarize,
    )
    from adcopilot_edge.runtime.inspector import Inspector

    inspectors = {
        str(path or "embedded bundle"): Inspector.open(path, provider=provider, num_threads=threads)
        for path in ([bundle] if against is None else [bundle, against])
    }
    size = next(iter(inspectors.values())).engine.bundle.manifest.model.image_height
    labelled = _read_pairs(source, data, size=size, count=pairs, seed=seed)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        said = [predict_difference(labelled)]
        for name, inspector in inspectors.items():
            task = progress.add_task(name, total=len(labelled))
            said.append(
                predict(
                    name,
                    inspector,
                    labelled,
                    with_text=text,
                    on_pair=lambda task=task: progress.advance(task),  # type: ignore[misc]
                )
            )
    report: dict[str, Any] = {
        "source": source,
        "image_size": size,
        "seed": seed,
        "results": [summarize(labelled, item) for item in said],
    }
    if against is not None:
        report["comparison"] = compare(labelled, said[1], said[2])
    if as_json:
        print_json(report)
    else:
        _print_report(report)


def _read_pairs(source: str, data: Path | None, *, size: int, count: int, seed: int) -> list[Any]:
    """The pairs, at the bundle's image size."""
    from adcopilot_edge.errors import ConfigError

    if source == "deeppcb":
        from adcopilot_edge.calibration.deeppcb import read_tiles

        if data is None:
            raise ConfigError("evaluate deeppcb needs the data folder as second argument")
        return read_tiles(data, tile=size, count=count, seed=seed)
    from adcopilot_edge.training.synthetic import generate_pair

    first = 900_000_000 + seed * 1_000_000  # far from the seeds that training uses
    return [generate_pair(first + index, size=size).to_labelled() for index in range(count)]


def _print_report(report: dict[str, Any]) -> None:
    for result in report["results"]:
        auroc = "" if result["auroc"] is None else f", AUROC {result['auroc']:.4f}"
        timing = "" if result["median_ms"] is None else f", median {result['median_ms']:.1f} ms"
        print(f"{result['name']}: {result['pairs']} pairs{timing}")
        print(
            f"  verdict    balanced accuracy {result['balanced_accuracy']:.4f}{auroc}, "
            f"escapes {result['escapes']}, overkill {result['overkill']}"
        )
        for box_source, figures in result["boxes"].items():
            shares = ", ".join(
                f"{key.upper()} {value:.3f}"
                for key, value in figures.items()
                if key.startswith("acc")
            )
            print(f"  {box_source:<10} mIoU {figures['miou']:.4f}, {shares}")
        if result["unparsed"]:
            print(f"  {result['unparsed']} answers held no readable boxes", file=sys.stderr)
    if comparison := report.get("comparison"):
        change = ", ".join(
            f"{key} {value:+.4f}" for key, value in comparison["miou_change"].items()
        )
        print(
            f"{comparison['candidate']} against {comparison['reference']}: "
            f"{comparison['verdict_flips']} verdict flips ({comparison['flip_rate']:.2%}), "
            f"mIoU change {change}"
        )
