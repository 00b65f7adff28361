"""From images to pairs: each query with its template, and what is wrong with it, as facts.

Three steps, so that the slow ones can be spread over processes: ``look_at`` for every picture,
``match_images`` for all of them in one place, ``mine_match`` for every match. ``mine`` does all
three here. Knows neither layouts nor texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.training.chat_ad.likeness import Describe, describe_picture
from adcopilot_edge.training.chat_ad.look import Look, look_at, pictures_of
from adcopilot_edge.training.chat_ad.match import Match, Tell, match_images
from adcopilot_edge.training.chat_ad.mined import MinedDefect, MinedPair
from adcopilot_edge.training.chat_ad.outline import find_outline
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
) -> Iterator[MinedPair]:
    """The pairs of all images, category by category.

    Args:
        images: Of one or several sources.
        roots: The folder of each source.
        tell: Is told of each image or defect that can't be used.
        describe: What makes pictures comparable.

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
    for match in match_images(images, looks, roots=roots, tell=tell):
        mined = mine_match(match)
        for finding in mined.findings:
            tell(finding)
        if mined.pair is not None:
            yield mined.pair


def mine_match(match: Match) -> Mined:
    """The pair of a match; opens its pictures and masks."""
    findings: list[Finding] = []
    image = match.image
    outlines = [
        find_outline(defect, picture=image.path, size=match.query_size, tell=findings.append)
        for defect in image.defects
    ]
    defects = [
        MinedDefect(label=defect.label, boxes=outline.boxes if outline else ())
        for defect, outline in zip(image.defects, outlines, strict=True)
    ]
    own = {defect.label for defect in defects}
    return Mined(
        MinedPair(
            key=match.key,
            source=match.image.source,
            category=match.image.category,
            split=match.image.split,
            query=match.image.path,
            template=match.template,
            query_size=match.query_size,
            template_size=match.template_size,
            rule=match.rule,
            similarity=match.similarity,
            defects=tuple(defects),
            other_labels=tuple(label for label in match.category_labels if label not in own),
        ),
        tuple(findings),
    )
