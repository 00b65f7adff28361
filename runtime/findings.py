"""What an examination means in pixels of a picture: defects from the text and from the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from adcopilot_edge.errors import AnswerError
from adcopilot_edge.manifest import Manifest
from adcopilot_edge.runtime.anomaly_map import map_boxes
from adcopilot_edge.runtime.answer import UNNAMED, parse_boxes, parse_types
from adcopilot_edge.runtime.examine import Examination
from adcopilot_edge.runtime.type_map import region_types
from adcopilot_edge.runtime.verdict_rule import VerdictRule
from adcopilot_edge.types import BBox, DecisionPath, Defect, FloatArray, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found in one picture, or in one tile of it.

    score: 0..1, not calibrated. defects: in pixels of the picture. text: the model's words by
    question. notes, path: as in ``Inspection``. anomaly_map: (rows, columns) float32 in 0..1 over
    the picture, or None.
    """

    score: float
    verdict: Verdict
    defects: tuple[Defect, ...]
    text: dict[str, str]
    notes: tuple[str, ...]
    anomaly_map: FloatArray | None
    path: DecisionPath = "model"

    def shown_score(self, rule: VerdictRule) -> float:
        """The score as ``Inspection`` has it; what is not the model's has no temperature."""
        return self.score if self.path == "map" else rule.calibrate(self.score)

    def with_note(self, note: str) -> Findings:
        """The same findings with one more note, in front of the others."""
        return replace(self, notes=(note, *self.notes))


def interpret(examination: Examination, manifest: Manifest, *, height: int, width: int) -> Findings:
    """Turn what the model said into findings.

    Boxes in the text count when ``locate`` was asked, regions of the map always; both only if the
    verdict is not normal.

    Args:
        examination: The model's output for the picture at the bundle's size.
        manifest: The bundle's, for its image size and its thresholds.
        height: Rows of the picture as it was before it took the bundle's size.
        width: Columns of that picture.

    Returns:
        The findings with the examination's notes and these, where they apply:
        ``answer_truncated:NAME``, ``answer_unparsed:locate``, ``boxes_dropped`` (some in the text
        had no area inside the image), ``map_disagrees`` (the verdict is normal but the map has a
        region).
    """
    notes = [
        f"answer_truncated:{name}"
        for name, answer in examination.answers.items()
        if not answer.is_complete
    ]
    notes += examination.notes
    from_map = _map_defects(examination, manifest)
    from_text: list[Defect] = []
    if "locate" in examination.answers:
        from_text, text_notes = _text_defects(examination, manifest)
        notes += text_notes
    if examination.verdict == "normal":
        if from_map:
            notes.append("map_disagrees")
        from_map, from_text = [], []
    scale = (width / manifest.model.image_width, height / manifest.model.image_height)
    return Findings(
        score=examination.score,
        verdict=examination.verdict,
        defects=tuple(_scaled(defect, *scale) for defect in from_text + from_map),
        text={name: answer.text for name, answer in examination.answers.items()},
        notes=tuple(notes),
        anomaly_map=examination.anomaly_map,
        path=examination.path,
    )


def _text_defects(examination: Examination, manifest: Manifest) -> tuple[list[Defect], list[str]]:
    """The boxes of the answer to ``locate``, in pixels of the model's input, and notes."""
    model = manifest.model
    text = examination.answers["locate"].text
    try:
        parsed = parse_boxes(text, height=model.image_height, width=model.image_width)
    except AnswerError:
        return [], ["answer_unparsed:locate"]
    defects = [Defect(label=box.label, bbox_2d=box.bbox_2d, source="text") for box in parsed.boxes]
    return defects, ["boxes_dropped"] if parsed.num_dropped else []


def _map_defects(examination: Examination, manifest: Manifest) -> list[Defect]:
    """The regions of the map, in pixels of the model's input.

    Their label is the type that the map itself tells. Where it knows no types, it is the answer to
    ``classify`` if that names one type; which region is of which of several is not known then.
    """
    if examination.anomaly_map is None:
        return []
    boxes = map_boxes(
        examination.anomaly_map,
        threshold=manifest.decision.map_threshold,
        margin=manifest.decision.map_margin,
        height=manifest.model.image_height,
        width=manifest.model.image_width,
    )
    return [
        Defect(label=label, bbox_2d=box, source="map")
        for label, box in zip(_map_labels(examination, manifest, boxes), boxes, strict=True)
    ]


def _map_labels(
    examination: Examination, manifest: Manifest, boxes: Sequence[BBox]
) -> Sequence[str]:
    """What the regions in ``boxes`` are called."""
    if examination.type_logits is None or examination.anomaly_map is None:
        answer = examination.answers.get("classify")
        said = parse_types(answer.text) if answer else ()
        return [said[0] if len(said) == 1 else UNNAMED] * len(boxes)
    types = region_types(
        examination.type_logits,
        examination.anomaly_map,
        boxes,
        names=manifest.model.map_types,
        height=manifest.model.image_height,
        width=manifest.model.image_width,
    )
    return [name or UNNAMED for name in types]


def _scaled(defect: Defect, scale_x: float, scale_y: float) -> Defect:
    x1, y1, x2, y2 = defect.bbox_2d
    bbox: BBox = (x1 * scale_x, y1 * scale_y, x2 * scale_x, y2 * scale_y)
    return Defect(label=defect.label, bbox_2d=bbox, source=defect.source)
