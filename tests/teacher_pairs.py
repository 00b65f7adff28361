"""Mined pairs whose every fact is written down here, for texts that are held against them."""

from __future__ import annotations

from pathlib import Path

from adcopilot_edge.training.chat_ad.mined import DefectFacts, MinedDefect, MinedPair

SIZE = (300, 300)

SCRATCH = MinedDefect(
    label="scratch",
    boxes=((10.0, 10.0, 60.0, 30.0),),
    facts=DefectFacts(
        place="upper left", area=0.01, size="small", contrast="darker", shape="elongated"
    ),
    description="a thin line where the surface is cut",
)
BENT_EDGE = MinedDefect(
    label="bent edge",
    boxes=((220.0, 230.0, 280.0, 290.0),),
    facts=DefectFacts(
        place="lower right", area=0.04, size="medium", contrast="brighter", shape="compact"
    ),
)
STAINS = MinedDefect(
    label="stain",
    boxes=((10.0, 10.0, 50.0, 50.0), (240.0, 10.0, 290.0, 60.0)),
    facts=DefectFacts(place="upper centre", area=0.05, size="medium"),
)
UNPLACED = MinedDefect(label="broken large")


def mined_pair(
    *defects: MinedDefect,
    others: tuple[str, ...] = ("bent edge", "colour", "dent", "pinhole", "scratch"),
    key: str = "line/bad/0.png",
    query: Path = Path("query.png"),
    template: Path = Path("template.png"),
    size: tuple[int, int] = SIZE,
) -> MinedPair:
    """A pair of a metal nut with these defects, whose category also has ``others``."""
    return MinedPair(
        key=key,
        source="line",
        category="metal nut",
        split="test",
        query=query,
        template=template,
        query_size=size,
        template_size=size,
        rule="aligned",
        similarity=1.0,
        defects=defects,
        other_labels=others,
    )
