"""The records that cross between the parts, and the array aliases. No behaviour beyond validation.

Letters used for array shapes in this project: B batch, N patches, T tokens, H W pixels (rows,
columns), C width of the vision tower, D width of the language model, L comparison tokens an image.
Boxes are ``(x1, y1, x2, y2)`` in pixels, origin at the top left corner, x2 and y2 exclusive.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from adcopilot_edge.errors import ConfigError, InputError

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
ImageArray = NDArray[np.uint8]
MaskArray = NDArray[np.bool_]
BBox = tuple[float, float, float, float]

Verdict = Literal["normal", "anomaly", "uncertain"]
BoxSource = Literal["text", "map"]
DecisionPath = Literal["model", "map", "audit"]
Task = Literal["verdict", "classify", "locate", "describe"]

TASKS: tuple[Task, ...] = get_args(Task)

# Called by long work: the name of a step, how much of it is done, and how much there is.
OnStep = Callable[[str, int, int], None]


def validate_bbox(bbox: BBox) -> None:
    """Raise ConfigError unless ``bbox`` is four finite numbers with x1 < x2 and y1 < y2."""
    if len(bbox) != 4 or not all(math.isfinite(value) for value in bbox):
        raise ConfigError(f"a box must be four finite numbers (x1, y1, x2, y2), got {bbox!r}")
    x1, y1, x2, y2 = bbox
    if x1 >= x2 or y1 >= y2:
        raise ConfigError(f"a box must have x1 < x2 and y1 < y2, got {bbox!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """One defect of an inspection, in pixels of the original test image.

    ``source`` says where the box comes from: ``text`` is the model's answer, ``map`` a connected
    region of the anomaly map.
    """

    label: str
    bbox_2d: BBox
    source: BoxSource

    def __post_init__(self) -> None:
        validate_bbox(self.bbox_2d)

    def to_json(self) -> dict[str, Any]:
        """The defect as the object that ``inspect --json`` prints."""
        bbox = [round(value, 1) for value in self.bbox_2d]
        return {"label": self.label, "bbox_2d": bbox, "source": self.source}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPair:
    """A golden and a test image with the truth about the test image.

    golden, test: (H, W, 3) uint8 RGB, equal shape. boxes: the true boxes in pixels of ``test``,
    empty for a good part; ``labels`` names each. mask: (H, W) bool of the defective pixels, where
    the source has one. is_unplaced: the part is bad, and nobody knows where; it has no boxes then,
    counts for verdicts, and never for boxes.
    """

    name: str
    category: str
    golden: ImageArray
    test: ImageArray
    boxes: tuple[BBox, ...] = ()
    labels: tuple[str, ...] = ()
    mask: MaskArray | None = None
    is_unplaced: bool = False

    def __post_init__(self) -> None:
        if self.golden.shape != self.test.shape or self.test.ndim != 3 or self.test.shape[2] != 3:
            raise ConfigError(
                f"pair {self.name}: golden and test must both be (H, W, 3), "
                f"got {self.golden.shape} and {self.test.shape}"
            )
        if len(self.boxes) != len(self.labels):
            raise ConfigError(
                f"pair {self.name}: {len(self.boxes)} boxes but {len(self.labels)} labels"
            )
        if self.boxes and self.is_unplaced:
            raise ConfigError(f"pair {self.name}: it has boxes, so the place is known")
        for box in self.boxes:
            validate_bbox(box)

    @property
    def is_anomaly(self) -> bool:
        """True when the test image has at least one defect, wherever it is."""
        return bool(self.boxes) or self.is_unplaced


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How far a test image is from the view of its golden image, whatever the model says.

    offset_x, offset_y: how many pixels of the test image its content lies to the right and below.
    brightness: ratio of the mean grey levels, test to golden. colour_shift: largest change of a
    channel's share of red, green and blue, 0..1. sharpness: ratio of the variance of the Laplacian,
    each relative to the variance of the grey; below 1 is blurred. similarity: correlation of the
    greys behind the offset, -1..1; low for another view, a turned part or another product.
    """

    offset_x: float
    offset_y: float
    brightness: float
    colour_shift: float
    sharpness: float
    similarity: float

    @property
    def offset_px(self) -> float:
        """The length of the offset, in pixels of the test image."""
        return math.hypot(self.offset_x, self.offset_y)

    def to_json(self) -> dict[str, float]:
        """The numbers as ``inspect --json`` prints them."""
        return {
            "offset_x": round(self.offset_x, 2),
            "offset_y": round(self.offset_y, 2),
            "brightness": round(self.brightness, 4),
            "colour_shift": round(self.colour_shift, 4),
            "sharpness": round(self.sharpness, 4),
            "similarity": round(self.similarity, 4),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The result of one inspection.

    anomaly_score: 0..1, the softmax over the logits of the two answer letters, at the temperature
    of the verdict state in use. threshold: the score from which on a part is an anomaly; None where
    nobody said. calibration: the id of that state, or None where the verdict is by
    the bundle's own threshold. timings_ms: by stage, and ``total``; of a part that was prepared
    while the one before was inspected, ``ahead`` is how much of the stages is not in ``total``, and
    they took longer for sharing the processor. text: the model's words for each task that was
    asked. anomaly_map: (rows, columns) float32 in 0..1 over the test image, one value a patch, or
    None where the bundle has no map. notes: facts a caller must not miss, such as
    ``answer_unparsed:locate``, ``resized:4000x3000->224x224``, ``golden_uncalibrated`` (other
    golden images of the bundle have a verdict state, this one has none) or ``ranges:ID`` (measured
    by ``calibrate --ranges``).
    ``golden_pack_damaged`` and ``golden_pack_outdated`` tell of a golden pack that was not used,
    ``health:...`` of a number of ``health`` out of the limits that were set;
    ``golden_nearest:...``, ``golden_votes:...`` and ``golden_shown:...`` of a golden set.
    takt_overrun_ms: by how much the inspection exceeded its takt, 0 if it did not, None without a
    takt. path: who decided; ``map`` where a cascade let the part pass without the language model,
    and anomaly_score is the cascade's suspicion then; ``audit`` where the model was asked although
    the part would have passed.
    """

    verdict: Verdict
    anomaly_score: float
    defects: tuple[Defect, ...]
    text: dict[str, str]
    timings_ms: dict[str, float]
    golden_cached: bool
    bundle: str
    provider: str
    precision: str
    calibration: str | None = None
    notes: tuple[str, ...] = ()
    health: Health | None = None
    takt_overrun_ms: float | None = None
    threshold: float | None = None
    path: DecisionPath = "model"
    anomaly_map: FloatArray | None = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The inspection as the one object that ``inspect --json`` prints."""
        return {
            "verdict": self.verdict,
            "anomaly_score": round(self.anomaly_score, 6),
            "threshold": None if self.threshold is None else round(self.threshold, 6),
            "defects": [defect.to_json() for defect in self.defects],
            "text": self.text,
            "timings_ms": {stage: round(ms, 3) for stage, ms in self.timings_ms.items()},
            "golden_cached": self.golden_cached,
            "bundle": self.bundle,
            "provider": self.provider,
            "precision": self.precision,
            "calibration": self.calibration,
            "health": None if self.health is None else self.health.to_json(),
            "notes": list(self.notes),
            "path": self.path,
            "takt_overrun_ms": None
            if self.takt_overrun_ms is None
            else round(self.takt_overrun_ms, 3),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PartResult:
    """What came of one of many parts: its inspection, or why its image can't be inspected.

    index: of the part, from 0. Of the other two exactly one is there.
    """

    index: int
    inspection: Inspection | None = None
    error: InputError | None = None

    def __post_init__(self) -> None:
        if (self.inspection is None) == (self.error is None):
            raise ConfigError("a part has either an inspection or an error")

    def to_json(self) -> dict[str, Any]:
        """The inspection, or ``error`` with its kind and message."""
        if self.inspection is not None:
            return self.inspection.to_json()
        return {"error": {"kind": type(self.error).__name__, "message": str(self.error)}}
