"""What people say of verdicts, kept in the journal, and exported as pairs to train with."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any, Literal

from adcopilot_edge.runtime.daemon.journal import Journal
from adcopilot_edge.runtime.daemon.record_search import told_review

Truth = Literal["good", "bad"]
_DEFECT = "defect"  # people say that a part is bad, not where or why


def add_review(
    journal: Journal, number: int, truth: Truth, who: str, image_file: str | None
) -> Future[dict[str, Any]]:
    """Note what somebody says of a final part, and where its image is kept from now on."""
    now = time.time()

    def change(connection: Any) -> dict[str, Any]:
        connection.execute(
            "INSERT INTO reviews (part, at, who, truth) VALUES (?, ?, ?, ?)",
            (number, now, who, truth),
        )
        connection.execute(
            "INSERT INTO audit (at, who, action, details) VALUES (?, ?, 'review', ?)",
            (now, who, json.dumps({"part": number, "truth": truth})),
        )
        if image_file is not None:
            connection.execute(
                "UPDATE parts SET image_file = ? WHERE id = ? AND image_file IS NULL",
                (image_file, number),
            )
        return told_review(part=number, at=now, who=who, truth=truth)

    return journal.write(change)


def write_pairs(
    file: IO[bytes],
    records: Iterable[dict[str, Any]],
    *,
    image_of: Callable[[dict[str, Any]], Path | None],
    golden_of: Callable[[dict[str, Any]], Path | None],
) -> tuple[int, int]:
    """Write a zip with ``pairs.jsonl`` as ``curate`` and ``evaluate pairs`` read it.

    A part whose image or golden is gone is left out.

    Returns:
        How many pairs are in it, and how many were left out.
    """
    lines, left_out = [], 0
    goldens: dict[Path, str] = {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for record in records:
            image, golden = image_of(record), golden_of(record)
            if image is None or golden is None:
                left_out += 1
                continue
            if golden not in goldens:
                goldens[golden] = f"goldens/{len(goldens):04d}{golden.suffix.lower()}"
                archive.write(golden, goldens[golden])
            test = f"parts/{record['id']:09d}{image.suffix.lower()}"
            archive.write(image, test)
            line = {"golden": goldens[golden], "test": test, "category": record["product"]}
            label = "good" if record["review"]["truth"] == "good" else _DEFECT
            lines.append(json.dumps({**line, "label": label}))
        archive.writestr("pairs.jsonl", "".join(f"{line}\n" for line in lines))
    return len(lines), left_out
