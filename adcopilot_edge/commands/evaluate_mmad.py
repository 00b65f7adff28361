"""``evaluate mmad``: the multiple-choice questions of MMAD, their table and its picture."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adcopilot_edge.commands.benchmark import Run, count_are, write_report, write_text
from adcopilot_edge.commands.printing import print_fact, print_json, print_rows
from adcopilot_edge.commands.progress import StepProgress

if TYPE_CHECKING:
    from adcopilot_edge.calibration.benchmark_prompt import Wording
    from adcopilot_edge.calibration.mmad import Mmad

_SHOWN = 5  # names of missing files; the report has them all


def run_mmad(run: Run, *, shots: int, similar_template: bool, wording: Wording | None) -> None:
    """Ask MMAD's questions, write table, report and chart, and print the table."""
    from adcopilot_edge.calibration.answer_log import AnswerLog
    from adcopilot_edge.calibration.mmad import read_mmad
    from adcopilot_edge.calibration.mmad_run import ask_mmad, report_mmad
    from adcopilot_edge.calibration.questioner import open_questioner

    mmad = read_mmad(run.data, shots=shots, similar_template=similar_template)
    questioner = open_questioner(
        run.bundle,
        wording=wording or ("bundle" if mmad.has_prompts else "mmad"),
        shots=shots,
        asks_for_letter=not mmad.has_prompts,
        provider=run.provider,
        num_threads=run.threads,
    )
    mmad = replace(mmad, images=tuple(mmad.images[at] for at in run.draw(len(mmad.images))))
    tell_missing(mmad)
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


def tell_missing(mmad: Mmad) -> None:
    """Say on stderr what is left out, and why."""
    if mmad.missing:
        shown = ", ".join(mmad.missing[:_SHOWN])
        rest = f" and {len(mmad.missing) - _SHOWN} more" if len(mmad.missing) > _SHOWN else ""
        files = count_are(len(mmad.missing), "file")
        images = count_are(len(mmad.left_out), "image")
        print(f"{files} missing, so {images} left out: {shown}{rest}", file=sys.stderr)
    if mmad.known_bad:
        known_bad = count_are(len(mmad.known_bad), "image")
        print(f"{known_bad} known to be wrong and left out", file=sys.stderr)


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
