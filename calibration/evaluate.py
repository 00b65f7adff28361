"""How well a bundle inspects labelled pairs, beside the image difference and another bundle.

Two bundles are run over the same pairs in one go, so that verdict flips and lost box overlap are
those of the bundles and not of the choice of pairs. Needs onnxruntime, not torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from adcopilot_edge.calibration.agreement import BoxAnswer, read_answer
from adcopilot_edge.calibration.box_matches import count_matches
from adcopilot_edge.calibration.difference import find_differences
from adcopilot_edge.calibration.thresholds import choose_thresholds
from adcopilot_edge.metrics import balanced_accuracy, measure_boxes, roc_auc
from adcopilot_edge.runtime.answer import UNNAMED, parse_types
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.types import BBox, Inspection, LabelledPair, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What one inspector, or the baseline, said about each of S pairs.

    is_anomaly: (S,) verdicts. scores: (S,) 0..1, or None where there is only a verdict. boxes: by
    source, the boxes of each pair. labels: what the boxes are called, likewise, of the sources that
    name them. types: by source, which types of defect there are in each pair. unparsed: answers
    that held no readable boxes. median_ms: of the whole inspection, NaN where it was not timed.
    bundle, precision: the bundle's id and its graphs' precision, empty for the baseline. answers:
    where the defects are in the model's words, by the index of the pair.
    """

    name: str
    is_anomaly: tuple[bool, ...]
    scores: tuple[float, ...] | None
    boxes: dict[str, tuple[tuple[BBox, ...], ...]]
    labels: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    types: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    unparsed: int = 0
    median_ms: float = float("nan")
    bundle: str = ""
    precision: str = ""
    answers: Mapping[int, BoxAnswer] = field(default_factory=dict)


def predict(
    name: str,
    inspector: Inspector,
    pairs: Iterable[LabelledPair],
    *,
    with_text: bool,
    asked: Collection[int] = (),
    on_pair: Callable[[], None] = lambda: None,
) -> Predictions:
    """Inspect every pair; with ``with_text`` the model is also asked to write the boxes.

    Args:
        name: Of the bundle, for people.
        inspector: The bundle.
        pairs: At least one; each is let go before the next.
        with_text: Ask about every pair, and count boxes in words as a source of boxes.
        asked: Indices of the pairs that are asked about in any case, and whose answers are kept.
        on_pair: Called after each pair.
    """
    inspections: list[Inspection] = []
    answers: dict[int, BoxAnswer] = {}
    bundle = inspector.engine.bundle
    model = bundle.manifest.model
    for index, pair in enumerate(pairs):
        golden = inspector.golden(pair.golden)
        tasks: tuple[Task, ...] = ("verdict",)
        if with_text:
            tasks = ("classify", "locate")
        elif index in asked:
            tasks = ("locate",)
        inspections.append(inspector.inspect(golden, pair.test, task=tasks, constrained=False))
        if index in asked:
            words = inspections[-1].text["locate"]
            answers[index] = read_answer(words, height=model.image_height, width=model.image_width)
        on_pair()

    def boxes_of(source: str) -> tuple[tuple[BBox, ...], ...]:
        return tuple(
            tuple(defect.bbox_2d for defect in item.defects if defect.source == source)
            for item in inspections
        )

    def labels_of(source: str) -> tuple[tuple[str, ...], ...]:
        return tuple(
            tuple(defect.label for defect in item.defects if defect.source == source)
            for item in inspections
        )

    boxes = {"map": boxes_of("map")} if inspections[0].anomaly_map is not None else {}
    labels: dict[str, tuple[tuple[str, ...], ...]] = {}
    types: dict[str, tuple[tuple[str, ...], ...]] = {}
    if model.map_types:
        labels["map"] = labels_of("map")
        types["map"] = tuple(tuple(set(names) - {UNNAMED}) for names in labels["map"])
    if with_text:
        boxes["text"], labels["text"] = boxes_of("text"), labels_of("text")
        types["text"] = tuple(parse_types(item.text["classify"]) for item in inspections)
    return Predictions(
        name=name,
        is_anomaly=tuple(item.verdict == "anomaly" for item in inspections),
        scores=tuple(item.anomaly_score for item in inspections),
        boxes=boxes,
        labels=labels,
        types=types,
        unparsed=sum("answer_unparsed:locate" in item.notes for item in inspections),
        median_ms=median(item.timings_ms["total"] for item in inspections),
        bundle=bundle.id,
        precision=bundle.manifest.precision,
        answers=answers,
    )


def predict_difference(pairs: Sequence[LabelledPair]) -> Predictions:
    """The plain image difference, the baseline that a model has to beat."""
    boxes = tuple(tuple(find_differences(pair.golden, pair.test)) for pair in pairs)
    return Predictions(
        name="image difference",
        is_anomaly=tuple(bool(found) for found in boxes),
        scores=None,
        boxes={"difference": boxes},
    )


def summarize(pairs: Sequence[LabelledPair], said: Predictions) -> dict[str, Any]:
    """Figures of merit as a JSON object: verdicts, escapes and overkill apart, boxes by source."""
    truth = np.array([pair.is_anomaly for pair in pairs])
    verdicts = np.array(said.is_anomaly)
    boxes = {source: measure_boxes(pairs, found).to_json() for source, found in said.boxes.items()}
    for source, labels in said.labels.items():
        boxes[source]["one_to_one"] = _match_classes(pairs, said.boxes[source], labels)
    types = {source: _types_right(pairs, said, names) for source, names in said.types.items()}
    return {
        "name": said.name,
        "pairs": len(pairs),
        "balanced_accuracy": round(balanced_accuracy(truth, verdicts), 4),
        "auroc": None if said.scores is None else round(roc_auc(truth, said.scores), 4),
        "escapes": int((truth & ~verdicts).sum()),
        "overkill": int((~truth & verdicts).sum()),
        "thresholds": None if said.scores is None else choose_thresholds(truth, said.scores),
        "boxes": boxes,
        "types": {source: figures for source, figures in types.items() if figures} or None,
        "unparsed": said.unparsed,
        "median_ms": None if np.isnan(said.median_ms) else round(said.median_ms, 2),
    }


def _types_right(
    pairs: Sequence[LabelledPair], said: Predictions, named: Sequence[Sequence[str]]
) -> dict[str, Any] | None:
    """How right the named types of the bad parts are that were found; None where there are none.

    exact: share of these parts with just the true types. named: share of their true types, each
    once a part, that were named. true: share of the named types that are true.
    """
    found = [
        ({*pair.labels}, {*types})
        for pair, types, is_anomaly in zip(pairs, named, said.is_anomaly, strict=True)
        if pair.is_anomaly and pair.labels and is_anomaly
    ]
    if not found:
        return None
    both = sum(len(truth & types) for truth, types in found)
    return {
        "found_bad": len(found),
        "exact": round(sum(truth == types for truth, types in found) / len(found), 4),
        "named": round(both / sum(len(truth) for truth, _ in found), 4),
        "true": round(both / max(1, sum(len(types) for _, types in found)), 4),
    }


def _match_classes(
    pairs: Sequence[LabelledPair],
    boxes: Sequence[Sequence[BBox]],
    labels: Sequence[Sequence[str]],
) -> dict[str, Any]:
    """DeepPCB's F-score of boxes with a class, and type_right: the share of found ones so named."""
    placed = [index for index, pair in enumerate(pairs) if not pair.is_unplaced]
    predicted = [list(zip(boxes[index], labels[index], strict=True)) for index in placed]
    true = [list(zip(pairs[index].boxes, pairs[index].labels, strict=True)) for index in placed]
    images = list(zip(predicted, true, strict=True))
    found, named = (count_matches(images, same_label=same) for same in (False, True))
    share = round(named.matched / found.matched, 4) if found.matched else None
    return {**named.to_json(), "found": found.matched, "type_right": share}


def compare(
    pairs: Sequence[LabelledPair], candidate: Predictions, reference: Predictions
) -> dict[str, Any]:
    """Verdict flips and the change of mean IoU of ``candidate`` against ``reference``."""
    flips = sum(
        one != other for one, other in zip(candidate.is_anomaly, reference.is_anomaly, strict=True)
    )
    change = {
        source: round(
            measure_boxes(pairs, found).mean_iou
            - measure_boxes(pairs, reference.boxes[source]).mean_iou,
            4,
        )
        for source, found in candidate.boxes.items()
        if source in reference.boxes
    }
    return {
        "candidate": candidate.name,
        "reference": reference.name,
        "verdict_flips": flips,
        "flip_rate": round(flips / len(pairs), 4),
        "miou_change": change,
    }
