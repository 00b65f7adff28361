"""MMAD's table of accuracies from single answers, computed as its repository does.

A task's accuracy is computed for each data set; Anomaly Detection is the mean of the accuracy on
normal and on abnormal images. A data set's average is the mean over its tasks, and the last row is
the mean over the data sets, so that a large one counts no more than a small one. Recall, precision
and F1 are those of the abnormal images in Anomaly Detection. All figures are percentages.

Where a run has no question of a task in a data set, the repository counts 0 for it; here the cell
stays empty and counts in no mean. On the whole of MMAD there is no such cell. Likewise Anomaly
Detection on normal images alone, or on abnormal ones, is the accuracy on those.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adcopilot_edge.calibration.mmad_questions import TASKS, order_tasks

DATASETS = ("DS-MVTec", "MVTec-LOCO", "VisA", "GoodsAD")
"""The rows of the published tables, in their order."""

AVERAGE = "Average"
DETECTION = TASKS[0]
_DETECTION_COLUMNS = ("Recall", "Precision", "F1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One answer, marked: where it belongs, and whether it was right."""

    dataset: str
    task: str
    is_normal: bool
    is_correct: bool


@dataclass(frozen=True, slots=True)
class AccuracyTable:
    """Percentages by row and column; NaN where there is nothing to count.

    Rows are the data sets and ``Average``; columns the tasks, ``Average``, Recall, Precision, F1.
    """

    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, float]]

    @property
    def average(self) -> float:
        """The mean over tasks and data sets, the benchmark's one figure."""
        return self.rows[AVERAGE][AVERAGE]

    def to_csv(self) -> str:
        """The table as MMAD's ``*_accuracy.csv``: the rows' names in a first column without one."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["", *self.columns])
        for name, row in self.rows.items():
            cells = (row[column] for column in self.columns)
            writer.writerow([name, *("" if math.isnan(cell) else cell for cell in cells)])
        return text.getvalue()

    def to_json(self) -> dict[str, dict[str, float | None]]:
        """The rows as objects, rounded to hundredths; None stands for an empty cell."""
        return {
            name: {
                column: None if math.isnan(value) else round(value, 2)
                for column, value in row.items()
            }
            for name, row in self.rows.items()
        }


def accuracy_table(marks: Iterable[Mark]) -> AccuracyTable:
    """The table of all ``marks``."""
    by_dataset: dict[str, dict[str, list[Mark]]] = {}
    tasks: dict[str, None] = {}
    for mark in marks:
        by_dataset.setdefault(mark.dataset, {}).setdefault(mark.task, []).append(mark)
        tasks[mark.task] = None
    ordered = order_tasks(tasks)
    has_detection = DETECTION in tasks
    columns = (*ordered, AVERAGE, *(_DETECTION_COLUMNS if has_detection else ()))
    names = [*filter(by_dataset.__contains__, DATASETS)]
    names += [name for name in by_dataset if name not in DATASETS]
    rows = {name: _row(by_dataset[name], ordered, has_detection) for name in names}
    rows[AVERAGE] = {column: _mean([row[column] for row in rows.values()]) for column in columns}
    return AccuracyTable(columns, rows)


def _row(
    by_task: Mapping[str, Sequence[Mark]], tasks: Sequence[str], has_detection: bool
) -> dict[str, float]:
    """The figures of one data set."""
    row = {task: _accuracy(by_task.get(task, ()), is_detection=task == DETECTION) for task in tasks}
    row[AVERAGE] = _mean(list(row.values()))
    if has_detection:
        row.update(_detection_figures(by_task.get(DETECTION, ())))
    return row


def _accuracy(marks: Sequence[Mark], *, is_detection: bool) -> float:
    if is_detection:
        return _mean([_share([m for m in marks if m.is_normal is kind]) for kind in (True, False)])
    return _share(marks)


def _detection_figures(marks: Sequence[Mark]) -> dict[str, float]:
    """Recall, precision and F1 of the abnormal images; 0 where nothing was found or said."""
    if not marks:
        return dict.fromkeys(_DETECTION_COLUMNS, math.nan)
    found = sum(mark.is_correct for mark in marks if not mark.is_normal)
    missed = sum(not mark.is_correct for mark in marks if not mark.is_normal)
    overkill = sum(not mark.is_correct for mark in marks if mark.is_normal)
    recall = found / (found + missed) if found + missed else 0.0
    precision = found / (found + overkill) if found + overkill else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    figures = (recall, precision, f1)
    return {name: 100 * figure for name, figure in zip(_DETECTION_COLUMNS, figures, strict=True)}


def _share(marks: Sequence[Mark]) -> float:
    return 100 * sum(mark.is_correct for mark in marks) / len(marks) if marks else math.nan


def _mean(values: Sequence[float]) -> float:
    """The mean of those that are numbers, NaN if none is."""
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan


def report_counts(marks: Sequence[Mark]) -> dict[str, Any]:
    """How many answers each row and column is made of."""
    counts: dict[str, dict[str, int]] = {}
    for mark in marks:
        row = counts.setdefault(mark.dataset, {})
        row[mark.task] = row.get(mark.task, 0) + 1
    return counts
