"""``evaluate mmad``: the multiple-choice questions of MMAD, their table and its picture."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adcopilot_edge.commands.benchmark import Run, count_are, write_report, write_text
from adcopilot_edge.commands.printing import print_fact, print_json, print_rows
from adcopilot_edge.commands.progress import StepProgress
from adcopilot_edge.commands.workshop import require_export

if TYPE_CHECKING:
    from adcopilot_edge.calibration.benchmark_prompt import Wording
    from adcopilot_edge.calibration.mmad import Mmad
    from adcopilot_edge.calibration.questioner import Questioner
    from adcopilot_edge.export.respondent import TorchRespondent

_SHOWN = 5  # names of missing files; the report has them all


@dataclass(frozen=True, slots=True, kw_only=True)
class MmadSetting:
    """How MMAD is asked, and of which checkpoint, if not of a bundle.

    wording: None takes MMAD's, and the bundle's for a list of whole prompts. image_size: of the
    checkpoint's images, as text.
    """

    shots: int
    similar_template: bool
    wording: Wording | None
    checkpoint: str | None
    image_size: str


def run_mmad(run: Run, data: Path, setting: MmadSetting) -> None:
    """Ask MMAD's questions, write table, report and chart, and print the table."""
    from adcopilot_edge.calibration.answer_log import AnswerLog
    from adcopilot_edge.calibration.mmad import read_mmad
    from adcopilot_edge.calibration.mmad_run import ask_mmad, report_mmad

    mmad = read_mmad(data, shots=setting.shots, similar_template=setting.similar_template)
    respondent, origin = _open(run, setting, has_prompts=mmad.has_prompts)
    mmad = replace(mmad, images=tuple(mmad.images[at] for at in run.draw(len(mmad.images))))
    tell_missing(mmad)
    settings = {
        "benchmark": "mmad",
        **origin,
        "data": mmad.sha256,
        "shots": setting.shots,
        "template": "similar" if setting.similar_template else "random",
        "prompt": respondent.prompt.model_dump(include={"golden", "test", "question"}),
        "max_new_tokens": run.max_new_tokens if run.with_words else None,
    }
    folder = run.folder("mmad", str(origin["model"]))
    with AnswerLog(folder / "answers.jsonl", settings) as log, StepProgress() as progress:
        limit = run.max_new_tokens if run.with_words else None
        ask_mmad(respondent, mmad, log, max_new_tokens=limit, on_step=progress)
        report = {**settings, **report_mmad(mmad, log)}
    _write_mmad(folder, report)
    if run.as_json:
        print_json({**report, "folder": str(folder)})
    else:
        _print_mmad(report, folder)


def _open(
    run: Run, setting: MmadSetting, *, has_prompts: bool
) -> tuple[Questioner | TorchRespondent, dict[str, str]]:
    """Who is asked, and what tells it from others."""
    wording = setting.wording or ("bundle" if has_prompts else "mmad")
    if setting.checkpoint is None:
        from adcopilot_edge.calibration.questioner import open_questioner

        questioner = open_questioner(
            run.bundle,
            wording=wording,
            shots=setting.shots,
            asks_for_letter=not has_prompts,
            provider=run.provider,
            num_threads=run.threads,
        )
        return questioner, {"model": questioner.bundle_id, "provider": run.provider}
    require_export("evaluate --checkpoint")
    from adcopilot_edge.export.checkpoint import open_checkpoint
    from adcopilot_edge.export.respondent import open_respondent
    from adcopilot_edge.export.words import parse_image_size

    checkpoint = open_checkpoint(setting.checkpoint)
    respondent = open_respondent(
        checkpoint,
        image_size=parse_image_size(setting.image_size),
        wording=wording,
        shots=setting.shots,
        asks_for_letter=not has_prompts,
    )
    model = f"checkpoint-{checkpoint.sha256()[:16]}"
    return respondent, {"model": model, "provider": "torch", "image_size": setting.image_size}


def tell_missing(mmad: Mmad) -> None:
    """Say on stderr what is left out, and why."""
    if mmad.missing:
        shown = ", ".join(mmad.missing[:_SHOWN])
        rest = f" and {len(mmad.missing) - _SHOWN} more" if len(mmad.missing) > _SHOWN else ""
        files = count_are(len(mmad.missing), "file")
        images = count_are(len(mmad.left_out), "image")
        print(f"{files} missing, so {images} left out: {shown}{rest}", file=sys.stderr)
    if mmad.malformed:
        questions = count_are(len(mmad.malformed), "question")
        print(f"{questions} malformed and left out: {mmad.malformed[0]} ...", file=sys.stderr)
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
    title = f"MMAD, {report['shots']}-shot accuracy in per cent, {report['model']}"
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
