"""A part on its way: what came in, and the one final record that goes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

from adcopilot_edge.types import Verdict

# Why a part has no verdict of the model; the line rejects it.
Reason = Literal[
    "takt_overrun",  # its time ran out, in the queue or while it was inspected
    "image_unusable",  # the picture can't be read, or does not fit the golden
    "question_unusable",  # what was asked can't be asked
    "inspection_failed",  # a graph or a state failed
    "worker_stuck",  # the inspection hung, and its process was ended
    "worker_died",  # the process of the inspection ended by itself
    "interrupted",  # the daemon ended before the part was done
    "journal_failed",  # its record could not be written in time, so no verdict was told
    "drained",  # the daemon was told to stop, and the part was not begun
    "camera_gone",  # it was to be taken a picture of, and no frame came in time
    "product_unknown",  # the name of its file has no product that the station file has
    "queue_full",  # it was to be taken a picture of, and as many waited as may
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An image of a part that came in.

    image: the bytes of the file as they came, never coded again. station, product: names of the
    station file. source: the way in, as ``http`` or ``folder:belt``. reference: how the caller
    knows the part (a serial number, a file's name), or None. takt_ms: time for it from the moment
    it is accepted, or None. tasks: what is asked beside the verdict, or None for the product's own.
    ask: a question in free words. golden: the file of a golden that counts for this part alone; its
    product is ``PAIR`` then.
    """

    image: bytes
    station: str
    product: str
    source: str
    reference: str | None = None
    takt_ms: float | None = None
    tasks: tuple[str, ...] | None = None
    ask: str | None = None
    golden: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalRecord:
    """What became of an accepted part; there is exactly one for each.

    id: ascending in the order of acceptance, never used again. received_at, finished_at: seconds
    since 1970 by the wall clock. reason: why the verdict is ``uncertain`` without the model's say,
    with ``detail`` in words; both None where the model or the map decided. score, threshold: as in
    ``Inspection``; None without an inspection. defects, text, timings_ms, notes, path: as
    ``Inspection.to_json`` has them. golden_sha256: of the pixels of the golden that counted, by the
    first 16 digits. engine: provider and precision. calibration: as in ``Inspection``. recipe: what
    it was inspected with, as ``ProductSetup.recipe`` has it; None where no inspection began.
    image_file: where the image was kept, relative to the folder of images, or None.
    """

    id: int
    station: str
    product: str
    source: str
    reference: str | None
    received_at: float
    finished_at: float
    verdict: Verdict
    reason: Reason | None = None
    detail: str | None = None
    score: float | None = None
    threshold: float | None = None
    defects: tuple[dict[str, Any], ...] = ()
    text: dict[str, str] = field(default_factory=dict)
    timings_ms: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    path: str | None = None
    image_sha256: str = ""
    golden_sha256: str | None = None
    bundle: str | None = None
    engine: str | None = None
    calibration: str | None = None
    recipe: dict[str, Any] | None = None
    image_file: str | None = None

    @property
    def is_rejected(self) -> bool:
        """Whether the line must take the part out: everything that is not surely normal."""
        return self.verdict != "normal"

    def to_json(self) -> dict[str, Any]:
        """The record as every way out tells it."""
        return {
            "id": self.id,
            "station": self.station,
            "product": self.product,
            "source": self.source,
            "reference": self.reference,
            "received_at": iso_time(self.received_at),
            "finished_at": iso_time(self.finished_at),
            "verdict": self.verdict,
            "reject": self.is_rejected,
            "reason": self.reason,
            "detail": self.detail,
            "anomaly_score": self.score,
            "threshold": self.threshold,
            "defects": list(self.defects),
            "text": self.text,
            "timings_ms": self.timings_ms,
            "notes": list(self.notes),
            "path": self.path,
            "image_sha256": self.image_sha256,
            "golden_sha256": self.golden_sha256,
            "bundle": self.bundle,
            "engine": self.engine,
            "calibration": self.calibration,
            "recipe": self.recipe,
            "image_file": self.image_file,
        }


def iso_time(seconds: float) -> str:
    """UTC to the millisecond, as ``2026-01-31T12:00:00.000Z``."""
    moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
