"""An evaluation of a run: every set of pairs scored, a few pairs asked in words and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import nn

from adcopilot_edge.training.answers import answer_pairs, box_ious, boxes_in
from adcopilot_edge.training.data import SampleBuilder
from adcopilot_edge.training.evaluation import find_in_pairs, summarise
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.sample_sheet import Shown, draw_sheet
from adcopilot_edge.types import LabelledPair

NUM_SHOWN = 8
"""Pairs of a set that are drawn, with a sentence each; the first ones."""
_ANSWERS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Scored:
    """An evaluation: scores as JSON objects and pictures of the first pairs, by set."""

    scores: dict[str, dict[str, Any]]
    sheets: dict[str, Image.Image]


def score_sets(
    model: nn.Module,
    processor: ADCopilotProcessor,
    builder: SampleBuilder,
    sets: Mapping[str, Sequence[LabelledPair]],
    *,
    has_text: bool,
    batch_size: int,
    num_answers: int,
    margin: int,
) -> Scored:
    """Score ``model`` on every set; every process calls it.

    has_text: whether the stage trains words, so that they are worth asking for. num_answers:
    of how many pairs with boxes these are asked in words. margin: as in ``find_in_pairs``.
    """
    scores: dict[str, dict[str, Any]] = {}
    sheets: dict[str, Image.Image] = {}
    for name, pairs in sets.items():
        findings = find_in_pairs(
            model, builder, pairs, has_text=has_text, batch_size=batch_size, margin=margin
        )
        first = list(pairs[:NUM_SHOWN])
        located: dict[int, str] = {}
        described: list[str] = []
        text_ious: list[float] = []
        if has_text:
            bad = [place for place, pair in enumerate(pairs) if pair.boxes][:num_answers]
            asked = sorted({*range(len(first)), *bad})
            for start in range(0, len(asked), _ANSWERS_AT_ONCE):
                some = asked[start : start + _ANSWERS_AT_ONCE]
                chosen = [pairs[place] for place in some]
                answers = answer_pairs(model, processor, builder, chosen, "locate")
                located.update(zip(some, answers, strict=True))
            text_ious = box_ious([located[place] for place in bad], [pairs[place] for place in bad])
            described = answer_pairs(model, processor, builder, first, "describe")
        scores[name] = summarise(findings, text_ious).to_json()
        sheets[name] = draw_sheet(
            [
                Shown(
                    pair,
                    finding,
                    boxes_in(located[place], pair) if located else None,
                    described[place] if described else None,
                )
                for place, (pair, finding) in enumerate(zip(first, findings, strict=False))
            ]
        )
    return Scored(scores, sheets)
