"""An evaluation of a run: every set scored; of pairs a few asked in words and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import nn

from adcopilot_edge.training.answers import answer_pairs, box_ious, boxes_in
from adcopilot_edge.training.dialogue_scores import hear_dialogues, summarise_dialogues
from adcopilot_edge.training.dialogues import DialogueSamples
from adcopilot_edge.training.evaluation import find_in_pairs, summarise
from adcopilot_edge.training.evaluation_data import EvaluationSet
from adcopilot_edge.training.grpo_recipe import GrpoRecipe
from adcopilot_edge.training.processor import ADCopilotProcessor
from adcopilot_edge.training.sample_builder import SampleBuilder
from adcopilot_edge.training.sample_sheet import Shown, draw_sheet
from adcopilot_edge.types import LabelledPair, Task

NUM_SHOWN = 8
"""Pairs of a set that are drawn, with a sentence each; the first ones."""
_ANSWERS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Scored:
    """An evaluation, by set: scores as JSON objects; of pairs pictures of the first ones."""

    scores: dict[str, dict[str, Any]]
    sheets: dict[str, Image.Image]


def score_sets(
    model: nn.Module,
    processor: ADCopilotProcessor,
    builder: SampleBuilder,
    sets: Mapping[str, EvaluationSet],
    *,
    has_text: bool,
    batch_size: int,
    num_answers: int,
    margin: int,
    grpo: GrpoRecipe | None = None,
) -> Scored:
    """Score ``model`` on every set; every process calls it.

    builder: one that does not pack. has_text: whether the stage trains words, so that they are
    worth asking for. num_answers: of how many pairs with boxes these are asked in words, and how
    many dialogues that can be checked are answered. margin: as in ``find_in_pairs``. grpo: as in
    ``earn_answers``.
    """
    scorer = _Scorer(model, processor, builder, has_text, batch_size, num_answers, margin, grpo)
    scored = Scored({}, {})
    for name, held in sets.items():
        if isinstance(held, DialogueSamples):
            scored.scores[name] = scorer.score_dialogues(held)
        else:
            scored.scores[name], scored.sheets[name] = scorer.score_pairs(held)
    return scored


@dataclass(frozen=True, slots=True)
class _Scorer:
    """What all sets are scored with; see ``score_sets``."""

    model: nn.Module
    processor: ADCopilotProcessor
    builder: SampleBuilder
    has_text: bool
    batch_size: int
    num_answers: int
    margin: int
    grpo: GrpoRecipe | None

    def score_pairs(self, pairs: Sequence[LabelledPair]) -> tuple[dict[str, Any], Image.Image]:
        findings = find_in_pairs(
            self.model,
            self.builder,
            pairs,
            has_text=self.has_text,
            batch_size=self.batch_size,
            margin=self.margin,
        )
        first = list(pairs[:NUM_SHOWN])
        located: dict[int, str] = {}
        described: list[str] = []
        text_ious: list[float] = []
        if self.has_text:
            bad = [place for place, pair in enumerate(pairs) if pair.boxes][: self.num_answers]
            asked = sorted({*range(len(first)), *bad})
            for start in range(0, len(asked), _ANSWERS_AT_ONCE):
                some = asked[start : start + _ANSWERS_AT_ONCE]
                answers = self._answer([pairs[place] for place in some], "locate")
                located.update(zip(some, answers, strict=True))
            text_ious = box_ious([located[place] for place in bad], [pairs[place] for place in bad])
            described = self._answer(first, "describe")
        sheet = draw_sheet(
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
        return summarise(findings, text_ious).to_json(), sheet

    def score_dialogues(self, dialogues: DialogueSamples) -> dict[str, Any]:
        if not self.has_text:
            return summarise_dialogues(dialogues.size, [], []).to_json()
        # It imports the library datasets, which runs on pairs alone do without.
        from adcopilot_edge.training.dialogue_answers import earn_answers

        heard = hear_dialogues(self.model, self.builder, dialogues, batch_size=self.batch_size)
        earned = earn_answers(
            self.model,
            self.processor,
            self.builder.images,
            dialogues,
            count=self.num_answers,
            grpo=self.grpo,
        )
        return summarise_dialogues(dialogues.size, heard, earned).to_json()

    def _answer(self, pairs: Sequence[LabelledPair], task: Task) -> list[str]:
        return answer_pairs(self.model, self.processor, self.builder, pairs, task)
