"""``evaluate deeppcb`` and ``synthetic``: bundles on labelled pairs, beside the difference."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adcopilot_edge.commands.benchmark import Run
from adcopilot_edge.commands.printing import print_json


@dataclass(frozen=True, slots=True, kw_only=True)
class PairChoice:
    """Which pairs: ``deeppcb`` or ``synthetic``, its folder, and boards or surfaces, or all."""

    source: str
    data: Path | None
    only: tuple[str, ...]


def run_bundles(run: Run, choice: PairChoice, against: Path | None) -> None:
    """Inspect the pairs and print the figures; ``against`` is the reference.

    Raises:
        ConfigError: A surface is unknown, or the images of the bundle are too small for the pairs.
        DatasetError: The folder does not have the layout of DeepPCB, or not this board.
        BundleError: A bundle can't be used.
    """
    report = _compare_bundles(run, choice, against)
    if run.as_json:
        print_json(report)
    else:
        _print_report(report)


def _compare_bundles(run: Run, choice: PairChoice, against: Path | None) -> dict[str, Any]:
    """The figures of the difference and of each bundle; ``against`` is the reference."""
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
        str(path or "embedded bundle"): Inspector.open(
            path, provider=run.provider, num_threads=run.threads, calibrated=False
        )
        for path in ([run.bundle] if against is None else [run.bundle, against])
    }
    size = next(iter(inspectors.values())).engine.bundle.manifest.model.image_height
    labelled = _read_pairs(choice, size=size, run=run)
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
                    with_text=run.with_words,
                    on_pair=lambda task=task: progress.advance(task),  # type: ignore[misc]
                )
            )
    report: dict[str, Any] = {
        "source": choice.source,
        "only": list(choice.only),
        "image_size": size,
        "seed": run.seed,
        "results": [summarize(labelled, item) for item in said],
    }
    if against is not None:
        report["comparison"] = compare(labelled, said[1], said[2])
    return report


def _read_pairs(choice: PairChoice, *, size: int, run: Run) -> list[Any]:
    """The pairs, at the bundle's image size."""
    assert run.count is not None
    if choice.source == "deeppcb":
        from adcopilot_edge.calibration.deeppcb import read_tiles

        assert choice.data is not None
        return read_tiles(
            choice.data, tile=size, count=run.count, seed=run.seed, boards=choice.only or None
        )
    from adcopilot_edge.training.synthetic import generate_pair

    first = 900_000_000 + run.seed * 1_000_000  # no run trains on them, see first_number
    surfaces = choice.only or (None,)
    return [
        generate_pair(
            first + index, size=size, surface=surfaces[index % len(surfaces)]
        ).to_labelled()
        for index in range(run.count)
    ]


def _print_report(report: dict[str, Any]) -> None:
    from adcopilot_edge.calibration.thresholds import describe_thresholds

    for result in report["results"]:
        auroc = "" if result["auroc"] is None else f", AUROC {result['auroc']:.4f}"
        timing = "" if result["median_ms"] is None else f", median {result['median_ms']:.1f} ms"
        print(f"{result['name']}: {result['pairs']} pairs{timing}")
        print(
            f"  verdict    balanced accuracy {result['balanced_accuracy']:.4f}{auroc}, "
            f"escapes {result['escapes']}, overkill {result['overkill']}"
        )
        for line in describe_thresholds(result["thresholds"] or {}):
            print(f"  threshold  {line}")
        for box_source, figures in result["boxes"].items():
            shares = ", ".join(
                f"{key.upper()} {value:.3f}"
                for key, value in figures.items()
                if key.startswith("acc")
            )
            print(f"  {box_source:<10} mIoU {figures['miou']:.4f}, {shares}")
            if matches := figures.get("one_to_one"):
                share = matches["type_right"]
                right = "-" if share is None else f"{share:.3f}"
                print(
                    f"  {'':<10} boxes of the same class, F-score {matches['f_score']:.4f}; of "
                    f"{matches['found']} found, type right {right}"
                )
        for box_source, types in (result["types"] or {}).items():
            print(
                f"  types      {box_source}: of {types['found_bad']} bad parts found all types "
                f"right {types['exact']:.3f}, true types named {types['named']:.3f}, "
                f"named types true {types['true']:.3f}"
            )
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
