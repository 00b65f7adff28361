"""A profile as a CSV table: one row for each stage of each case, for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from adcopilot_edge.runtime.profile.report import CaseReport
from adcopilot_edge.runtime.profile.sweep import case_name

COLUMNS = (
    *("case", "bundle", "image_size", "precision", "provider", "threads", "concurrency", "task"),
    *("stage", "count", "mean_ms", "p50_ms", "p90_ms", "p99_ms", "max_ms"),
    *("least_ms", "reached", "bound", "stable", "per_second", "takt_ms", "goodput"),
    "peak_rss_bytes",
)


def csv_table(cases: Sequence[CaseReport]) -> str:
    """The table with a header; what is not known is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for case in cases:
        settings, bundle = case.settings, case.bundle
        shared = {
            "case": case_name(case, cases),
            "bundle": bundle.id,
            "image_size": f"{bundle.image_height}x{bundle.image_width}",
            "precision": bundle.precision,
            "provider": settings.provider,
            "threads": settings.num_threads,
            "concurrency": settings.concurrency,
            "task": settings.task,
            "stable": case.measurement.stability.is_stable,
            "per_second": round(case.measurement.per_second, 4),
            "takt_ms": settings.takt_ms,
            "goodput": case.goodput(),
            "peak_rss_bytes": case.peak_rss_bytes,
        }
        for stage, row in {**case.stages(), **case.asides()}.items():
            figures = {
                f"{name}_ms" if name != "count" else name: value
                for name, value in row.to_json().items()
            }
            limit = case.limits.stages.get(stage) if case.limits else None
            bounds = (
                {}
                if limit is None
                else {
                    "least_ms": round(limit.least_ms, 4),
                    "reached": round(limit.reached, 4),
                    "bound": limit.bound,
                }
            )
            writer.writerow({**shared, "stage": stage, **figures, **bounds})
    return text.getvalue()
