"""Figures of inspected pairs: verdicts, escapes and overkill apart, boxes, types, the worst cases.

An escape is a bad part that is called normal, overkill a good part that is called an anomaly. A
part that is called uncertain goes to a person: it is counted on its own and is neither, and the
balanced accuracy is that of the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from adcopilot_edge.calibration.inspect_run import Inspected
from adcopilot_edge.calibration.mmad_bbox import box_sources, iou_of, report_bbox
from adcopilot_edge.calibration.thresholds import choose_thresholds
from adcopilot_edge.metrics import balanced_accuracy, roc_auc

SAID_NORMAL = "(normal)"
SAID_NOTHING = "(no type)"


def report_pairs(inspected: Sequence[Inspected]) -> dict[str, Any]:
    """The figures as one JSON object.

    ``confusion`` has a row for each true label and says what such parts were called: the types in
    the words of an anomaly, ``(normal)`` where the verdict is that. It is there if the model was
    asked.
    """
    report = verdict_figures(inspected)
    report["thresholds"] = choose_thresholds(
        [item.pair.is_anomaly for item in inspected], [item.score for item in inspected]
    )
    report["median_ms"] = round(median(item.total_ms for item in inspected), 2)
    categories = dict.fromkeys(item.pair.category for item in inspected)
    report["by_category"] = {
        name: verdict_figures([item for item in inspected if item.pair.category == name])
        for name in categories
    }
    report["by_label"] = _by_label(inspected)
    if any(item.types is not None for item in inspected):
        report["confusion"] = _confusion(inspected)
    if any(item.pair.is_anomaly and item.truth is not None for item in inspected):
        report["boxes"] = report_bbox(inspected)
    return report


def verdict_figures(inspected: Sequence[Inspected]) -> dict[str, Any]:
    """Verdicts of a set of pairs; figures that need both good and bad parts are None without."""
    decided = [item for item in inspected if item.verdict != "uncertain"]
    truth = [item.pair.is_anomaly for item in inspected]
    has_both = len(set(truth)) == 2
    accuracy = balanced_accuracy(
        [item.pair.is_anomaly for item in decided], [item.verdict == "anomaly" for item in decided]
    ) if decided else None  # fmt: skip
    return {
        "pairs": len(inspected),
        "bad": sum(truth),
        "balanced_accuracy": None if accuracy is None else round(accuracy, 4),
        "auroc": round(roc_auc(truth, [item.score for item in inspected]), 4) if has_both else None,
        "escapes": sum(map(is_escape, inspected)),
        "overkill": sum(map(is_overkill, inspected)),
        "uncertain": len(inspected) - len(decided),
    }


def is_escape(item: Inspected) -> bool:
    """True for a bad part that is called normal."""
    return item.pair.is_anomaly and item.verdict == "normal"


def is_overkill(item: Inspected) -> bool:
    """True for a good part that is called an anomaly."""
    return not item.pair.is_anomaly and item.verdict == "anomaly"


def _by_label(inspected: Sequence[Inspected]) -> dict[str, dict[str, int]]:
    """How many parts have a defect of each label, and how many of those escape."""
    labels = sorted({label for item in inspected for label in item.pair.labels})
    having = {label: [item for item in inspected if label in item.pair.labels] for label in labels}
    return {
        label: {"pairs": len(items), "escapes": sum(map(is_escape, items))}
        for label, items in having.items()
    }


def _confusion(inspected: Sequence[Inspected]) -> dict[str, dict[str, int]]:
    rows: dict[str, Counter[str]] = {}
    for item in inspected:
        if item.verdict == "normal":
            said: tuple[str, ...] = (SAID_NORMAL,)
        else:
            said = item.types or (SAID_NOTHING,)
        for label in dict.fromkeys(item.pair.labels or ("good",)):
            rows.setdefault(label, Counter()).update(said)
    return {label: dict(rows[label].most_common()) for label in sorted(rows)}


def worst_cases(inspected: Sequence[Inspected], count: int) -> list[Inspected]:
    """The pairs that went most wrong, at most ``count``.

    First escapes, the surest ones in front, then overkill likewise, then found defects whose boxes
    lie worst, by the map where there is one.
    """
    escapes = sorted(filter(is_escape, inspected), key=lambda item: item.score)
    overkill = sorted(filter(is_overkill, inspected), key=lambda item: -item.score)
    sources = box_sources(inspected)
    misplaced = []
    if sources:
        found = [item for item in inspected if item.verdict == "anomaly" and item.truth]
        misplaced = sorted(found, key=lambda item: iou_of(item, sources[-1]))
        misplaced = [item for item in misplaced if iou_of(item, sources[-1]) < 1]
    return [*escapes, *overkill, *misplaced][:count]
