"""What a shadow bundle says beside the line's, summed up from the journal."""

from __future__ import annotations

import math
import statistics
from typing import Any

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.daemon.journal import Journal

_Z = 1.959964  # of 95 % on both sides
_MAX_SHOWN = 50

_PAIRS = """
SELECT parts.verdict AS line, shadow.verdict AS shadow, count(*) AS count
FROM shadow JOIN parts ON parts.id = shadow.part
WHERE shadow.bundle = ? GROUP BY 1, 2 ORDER BY 1, 2
"""
_DISAGREEING = """
SELECT shadow.part AS part, parts.verdict AS line, parts.score AS line_score,
    shadow.verdict AS shadow, shadow.score AS shadow_score
FROM shadow JOIN parts ON parts.id = shadow.part
WHERE shadow.bundle = ? AND shadow.agrees = 0 ORDER BY shadow.part DESC LIMIT ?
"""
_FAILED = """
SELECT part, problem FROM shadow WHERE bundle = ? AND agrees IS NULL ORDER BY part DESC LIMIT ?
"""
_TIMES = "SELECT ms FROM shadow WHERE bundle = ? ORDER BY part DESC LIMIT 1000"
_BUNDLES = "SELECT bundle, max(at) AS last FROM shadow GROUP BY bundle ORDER BY last"


def wilson_bounds(count: int, total: int) -> tuple[float, float]:
    """The Wilson interval at 95 % of a share of which ``count`` of ``total`` were seen.

    Raises ConfigError unless 0 <= count <= total and total is positive.
    """
    if total < 1 or not 0 <= count <= total:
        raise ConfigError(f"a share needs 0 <= count <= total and a total, got {count} of {total}")
    share, weight = count / total, _Z * _Z / total
    middle = (share + weight / 2) / (1 + weight)
    half = _Z / (1 + weight) * math.sqrt(share * (1 - share) / total + weight / (4 * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def sum_up_shadows(journal: Journal) -> list[dict[str, Any]]:
    """One summary for each bundle that was a shadow, the latest first. Raises JournalError."""
    bundles = [row["bundle"] for row in journal.read(_BUNDLES)]
    return [_summary(journal, bundle) for bundle in reversed(bundles)]


def _summary(journal: Journal, bundle: str) -> dict[str, Any]:
    pairs = journal.read(_PAIRS, bundle)
    compared = [row for row in pairs if row["shadow"] is not None]
    total = sum(row["count"] for row in compared)
    agree = sum(row["count"] for row in compared if row["line"] == row["shadow"])
    failed = sum(row["count"] for row in pairs) - total
    times = [row["ms"] for row in journal.read(_TIMES, bundle)]
    return {
        "bundle": bundle,
        "compared": total,
        "agree": agree,
        "disagree": total - agree,
        "failed": failed,
        "disagreement": _share(total - agree, total),
        "passed_of_rejected": _among(compared, are_rejected=True),
        "rejected_of_passed": _among(compared, are_rejected=False),
        "by_verdict": compared,
        "disagreements": journal.read(_DISAGREEING, bundle, _MAX_SHOWN),
        "failures": journal.read(_FAILED, bundle, _MAX_SHOWN),
        "median_ms": round(statistics.median(times), 3),
    }


def _among(rows: list[dict[str, Any]], *, are_rejected: bool) -> dict[str, Any]:
    """Of the parts that the line rejected, or of the others: how many the shadow did not."""
    chosen = [row for row in rows if (row["line"] != "normal") == are_rejected]
    other = sum(row["count"] for row in chosen if (row["shadow"] != "normal") != are_rejected)
    return _share(other, sum(row["count"] for row in chosen))


def _share(count: int, total: int) -> dict[str, Any]:
    """A share with its bounds at 95 %, which are null where nothing was seen."""
    if total == 0:
        return {"count": 0, "total": 0, "share": None, "low": None, "high": None}
    low, high = wilson_bounds(count, total)
    shares = {"share": count / total, "low": low, "high": high}
    return {"count": count, "total": total, **{key: round(it, 6) for key, it in shares.items()}}
