"""From images to pairs: each query with its template, and what is wrong with it, as facts.

Three steps, so that the slow ones can be spread over processes: ``look_at`` for every picture,
``match_images`` for whole categories in one place, ``mine_match`` for every match. ``mine`` does
all three here. Knows neither layouts nor texts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adcopilot_edge.errors import InputError
from adcopilot_edge.runtime.images import open_image
from adcopilot_edge.training.chat_ad.facts import facts_of
from adcopilot_edge.training.chat_ad.knowledge import Knowledge, load_knowledge
from adcopilot_edge.training.chat_ad.likeness import Describe, describe_picture
from adcopilot_edge.training.chat_ad.look import Look, look_at, pictures_of
from adcopilot_edge.training.chat_ad.match import Match, Tell, match_images
from adcopilot_edge.training.chat_ad.mined import DefectFacts, MinedDefect, MinedPair
from adcopilot_edge.training.chat_ad.outline import Outline, find_outline
from adcopilot_edge.training.chat_ad.source import Finding, SourceImage


@dataclass(frozen=True, slots=True)
class Mined:
    """What became of a match: its pair, and what of it can't be used. No pair: nothing can."""

    pair: MinedPair | None
    findings: tuple[Finding, ...] = ()


def mine(
    images: Sequence[SourceImage],
    *,
    roots: Mapping[str, Path],
    tell: Tell,
    describe: Describe = describe_picture,
    knowledge: Knowledge | None = None,
) -> Iterator[MinedPair]:
    """The pairs of all images, category by category.

    Args:
        images: Of one or several sources.
        roots: The folder of each source.
        tell: Is told of each image or defect that can't be used.
        describe: What makes pictures comparable.
        knowledge: What is known of defects; by default ours.

    Raises:
        DatasetError: An image is not in the folder of its source, or that folder is not named.
    """
    looks: dict[Path, Look] = {}
    for path in pictures_of(images):
        look = look_at(path, describe)
        if isinstance(look, Finding):
            tell(look)
        else:
            looks[path] = look
    knowledge = knowledge or load_knowledge()
    for match in match_images(images, looks, roots=roots, tell=tell):
        mined = mine_match(match, knowledge)
        for finding in mined.findings:
            tell(finding)
        if mined.pair is not None:
            yield mined.pair


def mine_match(match: Match, knowledge: Knowledge) -> Mined:
    """The pair of a match; opens its pictures and masks."""
    findings: list[Finding] = []
    image = match.image
    outlines = [
        find_outline(defect, picture=image.path, size=match.query_size, tell=findings.append)
        for defect in image.defects
    ]
    try:
        facts = _facts(match, outlines)
    except InputError as err:
        return Mined(None, (*findings, Finding(image.path, f"can't be mined: {err}")))
    defects = []
    for defect, outline, fact in zip(image.defects, outlines, facts, strict=True):
        label, description = knowledge.look_up(image.category, defect.label)
        boxes = outline.boxes if outline else ()
        defects.append(MinedDefect(label=label, boxes=boxes, facts=fact, description=description))
    known = {knowledge.look_up(image.category, label)[0] for label in match.category_labels}
    pair = MinedPair(
        key=match.key,
        source=image.source,
        category=image.category,
        split=image.split,
        query=image.path,
        template=match.template,
        query_size=match.query_size,
        template_size=match.template_size,
        rule=match.rule,
        similarity=match.similarity,
        defects=tuple(sorted(defects, key=_reading_place)),
        other_labels=tuple(sorted(known - {defect.label for defect in defects})),
        product=knowledge.product(image.category),
    )
    return Mined(pair, tuple(findings))


def _facts(match: Match, outlines: Sequence[Outline | None]) -> list[DefectFacts | None]:
    """The facts of each defect that has a place; pictures are opened if there is one."""
    placed = [outline for outline in outlines if outline is not None]
    if not placed:
        return [None] * len(outlines)
    picture = open_image(match.image.path)
    if picture.shape[1::-1] != match.query_size:
        raise InputError("it is not the picture that was matched; leave the folder as it is")
    defective = np.zeros(picture.shape[:2], dtype=np.bool_)
    for outline in placed:
        defective[outline.window] |= outline.mask
    template = open_image(match.template) if match.rule == "aligned" else None
    if template is not None and template.shape != picture.shape:
        raise InputError("its template is not the one that was matched; leave the folder as it is")
    return [
        None if outline is None else facts_of(outline, picture, defective, template)
        for outline in outlines
    ]


def _reading_place(defect: MinedDefect) -> tuple[float, ...]:
    """Orders defects as their first boxes are read; those without a place come last."""
    return defect.boxes[0][1::-1] if defect.boxes else (math.inf,)
