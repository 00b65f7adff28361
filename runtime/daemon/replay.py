"""A kept image inspected again as it was then, and what comes out differently.

Reads a state folder, also while a daemon uses it, and writes nothing into it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from adcopilot_edge.errors import InputError, JournalError, ReplayError
from adcopilot_edge.runtime.daemon.golden_revisions import Shelf
from adcopilot_edge.runtime.daemon.messages import ProductSetup
from adcopilot_edge.runtime.daemon.product_goldens import load_products
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.threads import Threads

SCORE_TOLERANCE = 1e-4
BOX_TOLERANCE_PX = 0.5
_CUT = ("takt_cut:", "takt_dropped:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A part inspected again. differences: in words, none where all is equal.

    remarks: what was other than then, and what could not be compared.
    """

    id: int
    then: Mapping[str, Any]
    now: Mapping[str, Any]
    differences: tuple[str, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The comparison as ``replay --json`` prints it."""
        return {
            "id": self.id,
            "equal": not self.differences,
            "differences": list(self.differences),
            "remarks": list(self.remarks),
            "then": _shown(self.then),
            "now": _shown(self.now),
        }


class ReplaySource:
    """The records, images and goldens of a state folder. Raises JournalError and ReplayError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._journal = folder / "journal.sqlite"
        if not self._journal.is_file():
            raise ReplayError(f"{folder} is no state folder of a daemon: it has no journal.sqlite")

    def record(self, number: int) -> dict[str, Any]:
        """The final record of a part, with ``image_file`` as it is now."""
        query = "SELECT verdict, record, image_file FROM parts WHERE id = ?"
        rows = self._read(query, number)
        if not rows:
            raise ReplayError(f"there is no part {number} in {self._journal}")
        if rows[0]["verdict"] is None:
            raise ReplayError(f"part {number} has no final record yet")
        return {**json.loads(rows[0]["record"]), "image_file": rows[0]["image_file"]}

    def last(self, count: int) -> list[int]:
        """The last parts that were inspected and whose images are kept, oldest first."""
        rows = self._read(
            "SELECT id FROM parts WHERE image_file IS NOT NULL AND verdict IS NOT NULL AND reason"
            " IS NULL ORDER BY id DESC LIMIT ?",
            count,
        )
        return sorted(row["id"] for row in rows)

    def bundle(self) -> Path | None:
        """The bundle that the daemon used last; None is the one in this package."""
        found = self._fact("bundle_folder")
        return None if found is None else Path(found)

    def image(self, record: Mapping[str, Any]) -> bytes:
        """The bytes of a part's image, as they came."""
        name = record["image_file"]
        if name is None:
            raise ReplayError(
                f"the image of part {record['id']} was not kept, or was removed since; see the "
                "table images of the station file"
            )
        return self._file(
            self.folder / "images" / name, record["image_sha256"], f"image of part {record['id']}"
        )

    def setup(self, record: Mapping[str, Any]) -> ProductSetup:
        """The product as it was when the part was inspected; its golden files are there."""
        recipe, product = record.get("recipe"), record["product"]
        if recipe is None:
            raise ReplayError(
                f"part {record['id']} was not inspected ({record['reason']}), so there is nothing "
                "to compare with"
            )
        shelf = Shelf.model_validate(self._fact(f"goldens:{product}") or {})
        revision = recipe["golden_revision"]
        if revision >= len(shelf.revisions):
            raise ReplayError(
                f"the goldens of {product} in revision {revision} are not in {self._journal}"
            )
        goldens = [shelf.golden(name) for name in shelf.revision(revision).goldens]
        paths = [self.folder / "goldens" / product / golden.file for golden in goldens]
        for path, golden in zip(paths, goldens, strict=True):
            self._file(path, golden.sha256, f"golden {golden.id} of {product}")
        return ProductSetup(
            goldens=tuple(paths),
            revision=revision,
            choose=recipe["choose"],
            tasks=tuple(recipe["tasks"]),
            threshold=recipe["threshold"],
            roi=None if recipe["roi"] is None else tuple(recipe["roi"]),
            tile=recipe["tile"],
            max_new_tokens=recipe["max_new_tokens"],
        )

    def _fact(self, name: str) -> Any:
        rows = self._read("SELECT value FROM facts WHERE name = ?", name)
        return json.loads(rows[0]["value"]) if rows else None

    def _file(self, path: Path, sha256: str, what: str) -> bytes:
        try:
            content = path.read_bytes()
        except OSError as err:
            raise ReplayError(f"the {what} is gone: {path} can't be read: {err.strerror}") from err
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ReplayError(f"the {what} in {path} is not the one of then: its hash differs")
        return content

    def _read(self, query: str, *values: Any) -> list[dict[str, Any]]:
        try:
            uri = f"{self._journal.resolve().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True)) as connection:
                connection.row_factory = sqlite3.Row
                return [dict(row) for row in connection.execute(query, values)]
        except sqlite3.Error as err:
            raise JournalError(f"{self._journal} can't be read: {err}") from err


def replay(
    source: ReplaySource,
    numbers: list[int],
    *,
    bundle: Path | None = None,
    provider: str | None = None,
    threads: Threads | Path = None,
    tolerance: float = SCORE_TOLERANCE,
) -> Iterator[Replayed]:
    """Inspect parts again, one after another, and compare.

    Args:
        source: Where they are.
        numbers: Of the parts.
        bundle: In place of the one that the daemon used last; it may then be another one than
            that of the records.
        provider: In place of that of the first record.
        threads: As in ``Inspector.open``.
        tolerance: How far scores may lie apart.

    Raises:
        ReplayError: An image, a golden or the bundle of then is not there.
        JournalError: The journal can't be read.
        BundleError: The bundle can't be used.
        InferenceError: A graph fails.
    """
    records = [source.record(number) for number in numbers]
    prepared = [(record, source.setup(record), source.image(record)) for record in records]
    if not prepared:
        return
    provider = provider or (records[0]["engine"] or "cpu").split()[0]
    with TemporaryDirectory() as packs:  # those of the daemon are left alone
        inspector = Inspector.open(
            bundle or source.bundle(), provider=provider, num_threads=threads, packs=packs
        )
        if bundle is None:
            _check_bundle(inspector.engine.bundle.id, records)
        for record, setup, image in prepared:
            yield _again(inspector, record, setup, image, tolerance)


def _check_bundle(here: str, records: list[dict[str, Any]]) -> None:
    for record in records:
        if record["bundle"] != here:
            raise ReplayError(
                f"part {record['id']} was inspected with the bundle {record['bundle']}, and the "
                f"daemon's is {here} now. Name one with --bundle to compare all the same"
            )


def _again(
    inspector: Inspector,
    then: dict[str, Any],
    setup: ProductSetup,
    image: bytes,
    tolerance: float,
) -> Replayed:
    product = load_products(inspector, {then["product"]: setup}).get(then["product"])
    if product is None:
        raise ReplayError(f"part {then['id']} was inspected without a golden")
    try:
        found = product.inspect(inspector, image, takt_ms=None, ask=then["recipe"]["ask"])
    except InputError as err:
        now: dict[str, Any] = {"verdict": "uncertain", "detail": str(err)}
    else:
        now = {**found.to_json(), "golden_sha256": product.golden_of(found)}
    engine = inspector.engine
    now["engine"] = f"{engine.provider} {engine.bundle.manifest.precision}"
    now["bundle"] = engine.bundle.id
    return Replayed(
        id=then["id"],
        then=then,
        now=now,
        differences=tuple(_differences(then, now, tolerance)),
        remarks=tuple(_remarks(then, now)),
    )


def _differences(
    then: Mapping[str, Any], now: Mapping[str, Any], tolerance: float
) -> Iterator[str]:
    if then["verdict"] != now["verdict"]:
        yield f"verdict: {then['verdict']} then, {now['verdict']} now"
    scores = then["anomaly_score"], now.get("anomaly_score")
    if None in scores:
        if scores[0] is not scores[1]:
            yield f"anomaly_score: {scores[0]} then, {scores[1]} now"
    elif abs(scores[0] - scores[1]) > tolerance:
        yield f"anomaly_score: {scores[0]} then, {scores[1]} now"
    cut = _cut_tasks(then)
    boxes = [_boxes(side, cut) for side in (then, now)]
    if not _are_near(*boxes):
        yield f"boxes: {boxes[0]} then, {boxes[1]} now"
    words = then["text"], now.get("text", {})
    for name in sorted({*words[0], *words[1]} - cut):
        if words[0].get(name) != words[1].get(name):
            yield f"{name}: {words[0].get(name)!r} then, {words[1].get(name)!r} now"


def _remarks(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key in ("bundle", "engine", "calibration", "golden_sha256"):
        if then.get(key) != now.get(key):
            yield f"{key}: {then.get(key)} then, {now.get(key)} now"
    for name in sorted(_cut_tasks(then)):
        yield f"{name} was cut or left out by the takt then, and is not compared"
    if "detail" in now:
        yield f"now: {now['detail']}"


def _cut_tasks(then: Mapping[str, Any]) -> set[str]:
    """The questions whose answers the takt cut or left out."""
    return {note.partition(":")[2] for note in then["notes"] if note.startswith(_CUT)}


def _boxes(side: Mapping[str, Any], cut: set[str]) -> list[tuple[str, list[float]]]:
    """Labels and corners, in order; of a cut answer none."""
    defects = side.get("defects", ())
    if cut & {"locate", "classify"}:
        defects = [it for it in defects if it["source"] != "text"]
    return sorted((it["label"], it["bbox_2d"]) for it in defects)


def _are_near(one: list[tuple[str, list[float]]], other: list[tuple[str, list[float]]]) -> bool:
    return len(one) == len(other) and all(
        left[0] == right[0]
        and all(abs(a - b) <= BOX_TOLERANCE_PX for a, b in zip(left[1], right[1], strict=True))
        for left, right in zip(one, other, strict=True)
    )


def _shown(side: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("verdict", "anomaly_score", "threshold", "defects", "text", "bundle", "engine")
    return {key: side.get(key) for key in keys}
