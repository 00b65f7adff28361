"""Final records in the journal: found by what is known of them, page by page, and summed up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adcopilot_edge.runtime.daemon.journal import Journal
from adcopilot_edge.runtime.daemon.part import iso_time

_HOUR_S = 3600
_COLUMNS = "id, image_file, record"
_REVIEW = (
    "SELECT part, at, who, truth FROM reviews WHERE id IN"
    " (SELECT max(id) FROM reviews WHERE part IN ({}) GROUP BY part)"
)
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    """Which records are wanted; None is any.

    reference: how it begins. since, until: when the part came in, seconds since 1970, ``until``
    exclusive. truth: what was said of it in its last review; ``any`` is that something was said.
    """

    station: str | None = None
    product: str | None = None
    verdict: str | None = None
    reason: str | None = None
    reference: str | None = None
    since: float | None = None
    until: float | None = None
    truth: str | None = None

    def conditions(self) -> tuple[str, list[Any]]:
        """The condition of a query on ``parts``, and its values."""
        terms, values = ["verdict IS NOT NULL"], list[Any]()
        for column in ("station", "product", "verdict", "reason"):
            if (wanted := getattr(self, column)) is not None:
                terms.append(f"{column} = ?")
                values.append(wanted)
        if self.reference is not None:
            terms.append("reference >= ? AND reference < ?")
            values += [self.reference, self.reference + _LAST]
        if self.since is not None:
            terms.append("received_at >= ?")
            values.append(self.since)
        if self.until is not None:
            terms.append("received_at < ?")
            values.append(self.until)
        if self.truth == "any":
            terms.append("id IN (SELECT part FROM reviews)")
        elif self.truth is not None:
            terms.append(
                "(SELECT truth FROM reviews WHERE part = parts.id ORDER BY id DESC LIMIT 1) = ?"
            )
            values.append(self.truth)
        return " AND ".join(terms), values


def search(
    journal: Journal, wanted: RecordFilter, *, before: int | None, limit: int
) -> list[dict[str, Any]]:
    """The newest records with an id below ``before``, at most ``limit``, the newest first."""
    condition, values = wanted.conditions()
    if before is not None:
        condition += " AND id < ?"
        values.append(before)
    return _told(
        journal,
        journal.read(
            f"SELECT {_COLUMNS} FROM parts WHERE {condition} ORDER BY id DESC LIMIT ?",
            *values,
            limit,
        ),
    )


def newest(journal: Journal, limit: int) -> list[dict[str, Any]]:
    """The newest records, the newest first."""
    return search(journal, RecordFilter(), before=None, limit=limit)


def find(journal: Journal, number: int) -> dict[str, Any] | None:
    """One record, or None where the part is not known or not final."""
    query = f"SELECT {_COLUMNS} FROM parts WHERE id = ? AND verdict IS NOT NULL"
    told = _told(journal, journal.read(query, number))
    return told[0] if told else None


def by_hour(journal: Journal, wanted: RecordFilter) -> list[dict[str, Any]]:
    """For each hour with parts: how many of each verdict, their yield (0..1) and mean score."""
    condition, values = wanted.conditions()
    rows = journal.read(
        f"SELECT CAST(received_at / {_HOUR_S} AS INTEGER) AS hour, count(*) AS parts,"
        " sum(verdict = 'normal') AS normal, sum(verdict = 'anomaly') AS anomaly,"
        " sum(verdict = 'uncertain') AS uncertain, avg(score) AS mean_score"
        f" FROM parts WHERE {condition} GROUP BY hour ORDER BY hour",
        *values,
    )
    return [
        {
            "hour": iso_time(_HOUR_S * row["hour"]),
            "parts": row["parts"],
            "by_verdict": {name: row[name] for name in ("normal", "anomaly", "uncertain")},
            "yield": round(row["normal"] / row["parts"], 6),
            "mean_score": None if row["mean_score"] is None else round(row["mean_score"], 6),
        }
        for row in rows
    ]


def by_product(journal: Journal, wanted: RecordFilter) -> dict[str, dict[str, int]]:
    """How many parts of each product have each verdict."""
    condition, values = wanted.conditions()
    counts: dict[str, dict[str, int]] = {}
    for row in journal.read(
        f"SELECT product, verdict, count(*) AS parts FROM parts WHERE {condition}"
        " GROUP BY product, verdict ORDER BY product, verdict",
        *values,
    ):
        counts.setdefault(row["product"], {})[row["verdict"]] = row["parts"]
    return counts


def reviewed(journal: Journal, wanted: RecordFilter) -> dict[str, int]:
    """What people said of those parts.

    confirmed: the verdict was right. escapes: passed and bad. overkill: rejected and good.
    """
    condition, values = wanted.conditions()
    row = journal.read(
        "SELECT count(*) AS reviewed, total(truth = 'bad' AND verdict = 'normal') AS escapes,"
        " total(truth = 'good' AND verdict != 'normal') AS overkill FROM"
        " (SELECT verdict, (SELECT truth FROM reviews WHERE part = parts.id ORDER BY id DESC"
        f" LIMIT 1) AS truth FROM parts WHERE id IN (SELECT part FROM reviews) AND {condition})",
        *values,
    )[0]
    escapes, overkill = int(row["escapes"]), int(row["overkill"])
    confirmed = row["reviewed"] - escapes - overkill
    return {"confirmed": confirmed, "escapes": escapes, "overkill": overkill}


def _told(journal: Journal, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records as the page has them: with the file as it is now, and the last review."""
    marks = ", ".join("?" for _ in rows)
    reviews = journal.read(_REVIEW.format(marks), *(row["id"] for row in rows)) if rows else []
    by_part = {review["part"]: told_review(**review) for review in reviews}
    return [
        {
            **json.loads(row["record"]),
            "image_file": row["image_file"],
            "review": by_part.get(row["id"]),
        }
        for row in rows
    ]


def told_review(*, part: int, at: float, who: str, truth: str) -> dict[str, Any]:
    """A review as the page has it."""
    return {"part": part, "at": iso_time(at), "who": who, "truth": truth}
