"""Inspects pairs one by one and keeps what was said, so that a stopped run goes on.

What is kept is what the model said, words included, and the truth; figures are computed from it
later, without the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from adcopilot_edge.calibration.answer_log import Answer, AnswerLog
from adcopilot_edge.calibration.box_matches import NamedBox
from adcopilot_edge.calibration.masks import true_boxes
from adcopilot_edge.errors import AnswerError, AspectMismatchError
from adcopilot_edge.runtime.answer import parse_boxes, parse_types
from adcopilot_edge.runtime.images import check_same_aspect, open_image
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.pair_folder import PairFile
from adcopilot_edge.types import BBox, ImageArray, OnStep, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What was said about a pair, and the truth.

    size: rows and columns of the test image. map_boxes: of the inspection, in pixels of the test
    image, none where the verdict is normal; None where the bundle has no map. word_boxes: of the
    answer, in the same pixels, whatever the verdict; None where nothing was asked or the answer
    could not be read. types: what the answer calls the defects, or None. truth: None where nobody
    knows the place.
    """

    pair: PairFile
    verdict: Verdict
    score: float
    size: tuple[int, int]
    map_boxes: tuple[BBox, ...] | None
    word_boxes: tuple[NamedBox, ...] | None
    was_asked: bool
    types: tuple[str, ...] | None
    truth: tuple[BBox, ...] | None
    total_ms: float

    @property
    def named_truth(self) -> tuple[NamedBox, ...]:
        """The true boxes with their labels; one label stands for all."""
        boxes, labels = self.truth or (), self.pair.labels
        if len(labels) != len(boxes):
            labels = labels[:1] * len(boxes)
        return tuple(zip(boxes, labels, strict=True))


def inspect_pairs(
    inspector: Inspector,
    pairs: Sequence[PairFile],
    log: AnswerLog,
    *,
    max_new_tokens: int | None,
    any_proportions: bool = False,
    on_step: OnStep = lambda step, done, total: None,
) -> None:
    """Inspect the pairs that ``log`` has nothing about, and put what was said into it.

    Args:
        inspector: The bundle.
        pairs: What to inspect.
        log: Open for writing.
        max_new_tokens: Limit of an answer in words, to where and of what type the defects are;
            None does not ask.
        any_proportions: A golden of other proportions takes the size of the test image first,
            since in a benchmark it may be a photograph of another part; else it is an error.
        on_step: Told after each pair.

    Raises:
        DatasetError: A mask is black.
        InputError: A picture can't be read.
        SessionError: A graph fails.
    """
    for done, pair in enumerate(pairs):
        on_step("pairs", done, len(pairs))
        key = _key(pair)
        if key not in log.answers:
            log.add(key, _inspect(inspector, pair, max_new_tokens, any_proportions=any_proportions))
    on_step("pairs", len(pairs), len(pairs))


def read_inspected(
    pairs: Sequence[PairFile], log: AnswerLog, inspector: Inspector
) -> list[Inspected]:
    """What ``log`` has about each of ``pairs``."""
    model = inspector.engine.bundle.manifest.model
    size = (model.image_height, model.image_width)
    return [_restore(pair, log.answers[_key(pair)], size) for pair in pairs]


def _key(pair: PairFile) -> str:
    """The name of a pair in a log: a part may be held against several goldens."""
    return f"{pair.name}|{pair.golden.as_posix()}"


def _inspect(
    inspector: Inspector, pair: PairFile, max_new_tokens: int | None, *, any_proportions: bool
) -> Answer:
    test = open_image(pair.test)
    height, width = test.shape[:2]
    truth = true_boxes(pair, height, width)
    picture = open_image(pair.golden)
    if any_proportions:
        picture = _same_proportions(picture, height, width)
    golden = inspector.golden(picture)
    if max_new_tokens is None:
        inspection = inspector.inspect(golden, test)
    else:
        inspection = inspector.inspect(
            golden,
            test,
            task=("locate", "classify"),
            max_new_tokens=max_new_tokens,
            constrained=False,
        )
    from_map = [defect.bbox_2d for defect in inspection.defects if defect.source == "map"]
    return {
        "verdict": inspection.verdict,
        "score": inspection.anomaly_score,
        "size": [height, width],
        "map": None if inspection.anomaly_map is None else from_map,
        "words": inspection.text,
        "truth": truth,
        "ms": inspection.timings_ms["total"],
    }


def _same_proportions(golden: ImageArray, height: int, width: int) -> ImageArray:
    try:
        check_same_aspect(golden.shape, (height, width))
    except AspectMismatchError:
        resized = Image.fromarray(golden).resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(resized)
    return golden


def _restore(pair: PairFile, kept: Answer, model_size: tuple[int, int]) -> Inspected:
    """What was kept, with the words read."""
    words: dict[str, str] = kept["words"]
    size = (kept["size"][0], kept["size"][1])
    return Inspected(
        pair=pair,
        verdict=kept["verdict"],
        score=kept["score"],
        size=size,
        map_boxes=_to_boxes(kept["map"]),
        word_boxes=_read_boxes(words["locate"], size, model_size) if "locate" in words else None,
        was_asked="locate" in words,
        types=parse_types(words["classify"]) if "classify" in words else None,
        truth=_to_boxes(kept["truth"]),
        total_ms=kept["ms"],
    )


def _to_boxes(value: Any) -> tuple[BBox, ...] | None:
    """Boxes as JSON has them."""
    return None if value is None else tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in value)


def _read_boxes(
    words: str, size: tuple[int, int], model_size: tuple[int, int]
) -> tuple[NamedBox, ...] | None:
    """The boxes in an answer, in pixels of the test image; None if it can't be read."""
    try:
        parsed = parse_boxes(words, height=model_size[0], width=model_size[1])
    except AnswerError:
        return None
    down, across = (side / model_side for side, model_side in zip(size, model_size, strict=True))
    return tuple(
        ((x1 * across, y1 * down, x2 * across, y2 * down), box.label)
        for box in parsed.boxes
        for x1, y1, x2, y2 in [box.bbox_2d]
    )
