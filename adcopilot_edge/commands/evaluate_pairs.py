"""``evaluate pairs`` and ``evaluate mmad-bbox``: labelled pairs inspected, verdicts and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adcopilot_edge.commands.benchmark import Run, count_are, write_report
from adcopilot_edge.commands.evaluate_mmad import tell_missing
from adcopilot_edge.commands.printing import print_fact, print_json, print_rows
from adcopilot_edge.commands.progress import StepProgress

if TYPE_CHECKING:
    from adcopilot_edge.calibration.inspect_run import Inspected
    from adcopilot_edge.runtime.pair_folder import PairFile

_NUM_WORST = 12


def run_pairs(run: Run, data: Path) -> None:
    """Inspect labelled pairs; report verdicts, boxes, types, and draw the worst cases."""
    from adcopilot_edge.calibration.contact_sheet import draw_contact_sheet
    from adcopilot_edge.calibration.pair_list import read_pair_files
    from adcopilot_edge.calibration.pair_report import report_pairs, worst_cases
    from adcopilot_edge.runtime.overlay import save_image

    files = read_pair_files(data)
    settings, inspected, folder = _inspect(run, "pairs", files.pairs, files.sha256)
    report = {**settings, **report_pairs(inspected)}
    worst = worst_cases(inspected, _NUM_WORST)
    report["worst"] = [item.pair.name for item in worst]
    write_report(folder, report)
    picture = folder / "worst.png"
    picture.unlink(missing_ok=True)  # of an earlier run, which had some
    if worst:
        save_image(draw_contact_sheet(worst), picture)
    if run.as_json:
        print_json({**report, "folder": str(folder)})
    else:
        _print_verdicts(report)
        _print_confusion(report)
        _print_boxes(report.get("boxes", {}))
        print_fact("files", str(folder))


def run_bbox(run: Run, data: Path, *, similar_template: bool) -> None:
    """Score boxes by the BBox-Mask IoU, on MMAD or on a list of pairs with boxes or masks."""
    from adcopilot_edge.calibration.mmad import read_mmad
    from adcopilot_edge.calibration.mmad_bbox import bbox_pairs, report_bbox
    from adcopilot_edge.calibration.pair_list import read_pair_files
    from adcopilot_edge.errors import ConfigError, DatasetError

    left_out: dict[str, Any] = {}
    if (data / "mmad.json").is_file():
        mmad = read_mmad(data, similar_template=similar_template)
        tell_missing(mmad)
        found = bbox_pairs(mmad)
        pairs, sha256 = found.pairs, mmad.sha256
        left_out = {
            "template": "similar" if similar_template else "random",
            "missing_files": list(mmad.missing),
            "images_left_out": len(mmad.left_out),
            "known_bad_images": len(mmad.known_bad),
            "without_mask": list(found.without_mask),
        }
    elif similar_template:
        raise ConfigError("--similar-template goes with a folder that has mmad.json")
    else:
        files = read_pair_files(data)
        pairs, sha256 = files.pairs, files.sha256
    if not any(pair.is_anomaly and pair.has_place for pair in pairs):
        raise DatasetError(
            f"{data} has no abnormal image with boxes or a mask that is there, so there is "
            "nothing to score"
        )
    template = left_out.get("template")
    settings, inspected, folder = _inspect(run, "mmad-bbox", pairs, sha256, template=template)
    report = {**settings, **left_out, **report_bbox(inspected)}
    write_report(folder, report)
    if run.as_json:
        print_json({**report, "folder": str(folder)})
        return
    print_fact("mmad-bbox", f"{report['scored']} abnormal images, {report['normal']} normal")
    if without := report.get("without_mask"):
        print_fact("masks", f"{count_are(len(without), 'abnormal image')} without, not scored")
    _print_boxes(report)
    print_fact("files", str(folder))


def _inspect(
    run: Run, source: str, pairs: Sequence[PairFile], sha256: str, **more: Any
) -> tuple[dict[str, Any], list[Inspected], Path]:
    """Inspect as many as asked for; return the run's settings, what was said, and its folder."""
    from adcopilot_edge.calibration.answer_log import AnswerLog
    from adcopilot_edge.calibration.inspect_run import inspect_pairs, read_inspected
    from adcopilot_edge.runtime.inspector import Inspector

    inspector = Inspector.open(run.bundle, provider=run.provider, num_threads=run.threads)
    limit = run.max_new_tokens if run.with_words else None
    settings = {
        "benchmark": source,
        "model": inspector.engine.bundle.id,
        "provider": run.provider,
        "data": sha256,
        "max_new_tokens": limit,
        **more,
    }
    folder = run.folder(source, inspector.engine.bundle.id)
    chosen = [pairs[place] for place in run.draw(len(pairs))]
    with AnswerLog(folder / "answers.jsonl", settings) as log, StepProgress() as progress:
        inspect_pairs(
            inspector,
            chosen,
            log,
            max_new_tokens=limit,
            any_proportions=source == "mmad-bbox",
            on_step=progress,
        )
        inspected = read_inspected(chosen, log, inspector)
    return settings, inspected, folder


def _print_verdicts(report: dict[str, Any]) -> None:
    from adcopilot_edge.calibration.thresholds import describe_thresholds

    rows: list[tuple[str, ...]] = [
        ("", "pairs", "bad", "balanced acc.", "AUROC", "escapes", "overkill", "uncertain")
    ]
    sets = {"all": report, **report["by_category"]}
    keys = ("pairs", "bad", "balanced_accuracy", "auroc", "escapes", "overkill", "uncertain")
    for name, figures in sets.items() if len(sets) > 2 else [("all", report)]:
        cells = (figures[key] for key in keys)
        rows.append((name, *("-" if cell is None else f"{cell:g}" for cell in cells)))
    print_fact("verdicts", f"median {report['median_ms']:.1f} ms")
    print_rows(rows)
    for line in describe_thresholds(report["thresholds"] or {}):
        print_fact("threshold", line)
    if report["by_label"]:
        print_fact("defects", "by their label")
        counts = report["by_label"].items()
        print_rows(
            [("", "pairs", "escapes")]
            + [(label, str(row["pairs"]), str(row["escapes"])) for label, row in counts]
        )


def _print_confusion(report: dict[str, Any]) -> None:
    for label, said in report.get("confusion", {}).items():
        called = ", ".join(f"{name} {count}" for name, count in said.items())
        print_fact("called", f"{label}: {called}")


def _print_boxes(report: dict[str, Any]) -> None:
    """A row for each source of boxes."""
    rows: list[tuple[str, ...]] = [
        ("", "mIoU", "ACC@0.1", "ACC@0.2", "ACC@0.3", "ACC@0.5", "F, same class")
    ]
    for source in ("words", "map"):
        figures = report.get(source, {}).get("all", {})
        if not figures.get("pairs"):
            continue
        keys = ("miou", "acc@0.1", "acc@0.2", "acc@0.3", "acc@0.5")
        f_score = figures["one_to_one"]["same_label"]["f_score"]
        rows.append((source, *(f"{figures[key]:.4f}" for key in keys), f"{f_score:.4f}"))
    if len(rows) == 1:
        return
    print_fact("boxes", f"of {report['scored']} bad pairs")
    print_rows(rows)
    if unreadable := report.get("words", {}).get("unreadable"):
        print_fact("", f"{unreadable} answers held no readable boxes")
