"""Mined pairs that are made up from a seed, with facts that agree with their boxes."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from adcopilot_edge.training.chat_ad.facts import size_word
from adcopilot_edge.training.chat_ad.mined import (
    ContrastWord,
    DefectFacts,
    MinedDefect,
    MinedPair,
    ShapeWord,
)
from adcopilot_edge.training.places import place_word
from adcopilot_edge.types import BBox

SIZE = (300, 240)
KNOWN = {
    "scratch": "a narrow line where the surface was scraped",
    "broken teeth": "One or more teeth are broken off.",
    "rough": "",
    "contamination": "material on the surface that does not belong there",
    "hole": "",
    "missing cap": "",
    "oil stain": "",
    "bent wire": "",
    "combined": "",
}


def made_up_pair(number: int, **changes: Any) -> MinedPair:
    """Pair ``number``: a third are normal, one in nine has a defect without a place."""
    rng = random.Random(number)
    shown = [] if number % 3 == 0 else rng.sample(sorted(KNOWN), rng.choice((1, 1, 1, 2, 3)))
    is_placed = number % 9 != 1
    defects = tuple(_defect(label, rng, is_placed=is_placed) for label in shown)
    values: dict[str, Any] = {
        "key": f"made-up/{number}.png",
        "source": "made-up",
        "category": rng.choice(("bottle", "metal_nut", "capsules", "pcb1", "made-up", "zipper")),
        "split": "test",
        "query": Path(f"{number}.png"),
        "template": Path("good.png"),
        "query_size": SIZE,
        "template_size": SIZE,
        "rule": rng.choice(("aligned", "similar")),
        "similarity": 1.0,
        "defects": defects,
        "other_labels": tuple(sorted(set(rng.sample(sorted(KNOWN), 4)) - set(shown))),
    }
    return MinedPair(**(values | changes))


def twin_pair() -> MinedPair:
    """A pair with two mouse bites that the data set tells apart: both small, one of them dark."""
    facts = DefectFacts(place="upper left", area=0.005, size="small", shape="compact")
    boxes: tuple[BBox, ...] = ((10, 10, 30, 30), (50, 10, 70, 30))
    dark = replace(facts, contrast="darker")
    twins = zip(boxes, (facts, dark), strict=True)
    defects = (MinedDefect(label="mouse bite", boxes=(box,), facts=one) for box, one in twins)
    return made_up_pair(5, defects=tuple(defects))


def crowded_pair() -> MinedPair:
    """A pair with two oil stains, six missing caps and three holes."""
    rng = random.Random(0)
    found = (("oil stain", 2), ("missing cap", 6), ("hole", 3))
    return made_up_pair(5, defects=tuple(_placed(label, rng, count) for label, count in found))


def _defect(label: str, rng: random.Random, *, is_placed: bool) -> MinedDefect:
    if not is_placed:
        return MinedDefect(label=label, description=KNOWN[label])
    return _placed(label, rng, rng.choice((1, 1, 1, 1, 2, 3, 6)))


def _placed(label: str, rng: random.Random, count: int) -> MinedDefect:
    boxes = tuple(_box(rng) for _ in range(count))
    width, height = SIZE
    area = rng.choice((0.0005, 0.0009, 0.005, 0.05, 0.3))
    facts = DefectFacts(
        place=place_word(boxes[0], height=height, width=width),
        area=area,
        size=size_word(area),
        contrast=rng.choice((None, *get_args(ContrastWord))),
        shape=rng.choice((None, *get_args(ShapeWord))),
    )
    return MinedDefect(label=label, boxes=boxes, facts=facts, description=KNOWN[label])


def _box(rng: random.Random) -> BBox:
    if rng.random() < 0.1:
        return (10.0, 100.0, 290.0, 130.0)
    x, y = rng.randrange(SIZE[0] - 40), rng.randrange(SIZE[1] - 40)
    return (float(x), float(y), float(x + rng.randint(5, 40)), float(y + rng.randint(5, 40)))
