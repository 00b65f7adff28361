"""What mining knows of an image: the normal image to compare it with, and facts of each defect.

Knows neither layouts nor words of a dialogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adcopilot_edge.types import BBox

TemplateRule = Literal["aligned", "similar"]
"""aligned: the data set names the template, pixel by pixel. similar: the normal image of the same
category that looks most alike."""

SizeWord = Literal["tiny", "small", "medium", "large"]
ContrastWord = Literal["darker", "brighter", "differently coloured", "similar in tone"]
ShapeWord = Literal["compact", "elongated", "irregular", "scattered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DefectFacts:
    """What the pixels say about a defect; None where they are not known to say.

    place: on a 3x3 grid, as ``upper left`` or ``centre``. area: share of the image, 0..1. contrast:
    against the same place of an aligned template, else against what surrounds the defect.
    """

    place: str
    area: float
    size: SizeWord
    contrast: ContrastWord | None = None
    shape: ShapeWord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MinedDefect:
    """A defect with its boxes, in pixels of the query, and the facts of them together.

    boxes: (x1, y1, x2, y2), x2 and y2 exclusive; none for a defect whose place nobody knows, which
    has no facts either. label: in words, as texts use it. description: what such a defect is, from
    the knowledge of the category; empty where there is none.
    """

    label: str
    boxes: tuple[BBox, ...] = ()
    facts: DefectFacts | None = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MinedPair:
    """A query image, its normal template, and what is wrong with the query.

    key: the pair's name, the same in every run over the same files: source and the query's path in
    it. query_size, template_size: (width, height) in pixels, upright. similarity: of the template's
    and the query's features, -1..1; 1 where the template is aligned. other_labels: the defects that
    the category has elsewhere, sorted; for wrong options of a choice. product: what the category's
    products are called in a text, empty where nobody knows.
    """

    key: str
    source: str
    category: str
    split: str
    query: Path
    template: Path
    query_size: tuple[int, int]
    template_size: tuple[int, int]
    rule: TemplateRule
    similarity: float
    defects: tuple[MinedDefect, ...] = ()
    other_labels: tuple[str, ...] = ()
    product: str = ""

    @property
    def is_normal(self) -> bool:
        """Whether nothing is wrong with the query."""
        return not self.defects

    @property
    def is_placed(self) -> bool:
        """Whether all that is wrong has a place; true for a normal query."""
        return all(defect.boxes for defect in self.defects)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of its defects, each once, sorted."""
        return tuple(sorted({defect.label for defect in self.defects}))
