"""What ``evaluate`` does for the benchmarks: one run each, its files, its table."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adcopilot_edge.commands.printing import print_fact, print_json, print_rows
from adcopilot_edge.commands.progress import StepProgress

if TYPE_CHECKING:
    from adcopilot_edge.calibration.benchmark_prompt import Wording
    from adcopilot_edge.calibration.mmad import Mmad

_SHOWN = 5  # names of missing files; the report has them all


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was asked for: data, bundle, a folder for the files, and how much of it."""

    data: Path
    bundle: Path | None
    out: Path | None
    count: int | None
    seed: int
    with_words: bool
    as_json: bool
    provider: str
    threads: int | None
    max_new_tokens: int

    def folder(self, source: str, bundle_id: str) -> Path:
        """Where the answers and the report go."""
        return self.out or Path("runs") / f"{source}-{bundle_id}"


def run_mmad(run: Run, *, shots: int, similar_template: bool, wording: Wording) -> None:
    """Ask MMAD's questions, write table, report and chart, and print the table."""
    from adcopilot_edge.calibration.answer_log import AnswerLog
    from adcopilot_edge.calibration.mmad import read_mmad
    from adcopilot_edge.calibration.mmad_run import ask_mmad, report_mmad
    from adcopilot_edge.calibration.questioner import open_questioner

    questioner = open_questioner(
        run.bundle,
        wording=wording,
        shots=shots,
        provider=run.provider,
        num_threads=run.threads,
    )
    mmad = read_mmad(run.data, shots=shots, similar_template=similar_template)
    mmad = _choose(mmad, run)
    _tell_missing(mmad)
    settings = {
        "benchmark": "mmad",
        "bundle": questioner.bundle_id,
        "provider": run.provider,
        "data": mmad.sha256,
        "shots": shots,
        "template": "similar" if similar_template else "random",
        "prompt": questioner.prompt.model_dump(include={"golden", "test", "question"}),
        "max_new_tokens": run.max_new_tokens if run.with_words else None,
    }
    folder = run.folder("mmad", questioner.bundle_id)
    with AnswerLog(folder / "answers.jsonl", settings) as log, StepProgress() as progress:
        limit = run.max_new_tokens if run.with_words else None
        ask_mmad(questioner, mmad, log, max_new_tokens=limit, on_step=progress)
        report = {**settings, **report_mmad(mmad, log)}
    _write_mmad(folder, report)
    if run.as_json:
        print_json({**report, "folder": str(folder)})
    else:
        _print_mmad(report, folder)


def _choose(mmad: Mmad, run: Run) -> Mmad:
    """As many images as asked for, drawn by the seed, in their order."""
    if run.count is None or run.count >= len(mmad.images):
        return mmad
    places = random.Random(run.seed).sample(range(len(mmad.images)), run.count)
    return replace(mmad, images=tuple(mmad.images[place] for place in sorted(places)))


def _tell_missing(mmad: Mmad) -> None:
    if mmad.missing:
        shown = ", ".join(mmad.missing[:_SHOWN])
        rest = f" and {len(mmad.missing) - _SHOWN} more" if len(mmad.missing) > _SHOWN else ""
        print(
            f"{_are(len(mmad.missing), 'file')} missing, so {_are(len(mmad.left_out), 'image')} "
            f"left out: {shown}{rest}",
            file=sys.stderr,
        )
    if mmad.known_bad:
        known_bad = _are(len(mmad.known_bad), "image")
        print(f"{known_bad} known to be wrong and left out", file=sys.stderr)


def _are(count: int, noun: str) -> str:
    return f"{count} {noun} is" if count == 1 else f"{count} {noun}s are"


def _write_mmad(folder: Path, report: dict[str, Any]) -> None:
    """The report, a table as MMAD writes it for each way of reading, and the chart."""
    from adcopilot_edge.calibration.bar_chart import draw_bars
    from adcopilot_edge.runtime.overlay import save_image

    ways = [way for way in ("letters", "words") if way in report]
    for way in ways:
        write_text(folder / f"{way}_accuracy.csv", report[way].pop("csv"))
    write_report(folder, report)
    averages = {f"by {way}": report[way]["table"]["Average"] for way in ways}
    groups = list(next(iter(averages.values())))
    title = f"MMAD, {report['shots']}-shot accuracy in per cent, bundle {report['bundle']}"
    save_image(draw_bars(title, groups, averages), folder / "accuracy.png")


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write ``report.json``, for people and programs."""
    write_text(folder / "report.json", json.dumps(report, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    from adcopilot_edge.atomic import atomic_write
    from adcopilot_edge.errors import ConfigError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(text.encode())
    except OSError as err:
        raise ConfigError(f"can't write {path}: {err}. Choose another folder with --out") from err


def _print_mmad(report: dict[str, Any], folder: Path) -> None:
    print_fact("mmad", f"{report['questions']} questions about {report['images']} images")
    for way in ("letters", "words"):
        if way not in report:
            continue
        table = report[way]["table"]
        print_fact(way, f"average {report[way]['average']:.2f} %")
        columns = list(table["Average"])
        rows = [("", *map(_initials, columns))]
        rows += [
            (name, *("-" if cell is None else f"{cell:.2f}" for cell in row.values()))
            for name, row in table.items()
        ]
        print_rows(rows)
    if words := report.get("words"):
        print_fact(
            "reading",
            f"{words['closest_option']} answers without a letter took the closest option, "
            f"{words['unreadable']} were empty",
        )
    print_fact("files", str(folder))


def _initials(column: str) -> str:
    """Two-word tasks as two letters, so that a table fits a terminal."""
    first, *others = column.split()
    return first[0] + others[0][0] if others else column
