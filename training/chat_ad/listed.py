"""Reads a folder with ``pairs.jsonl``, a list of pairs with boxes or masks.

How a line is written is known to ``calibration.pair_list``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.calibration.pair_list import read_pair_list
from adcopilot_edge.runtime.pair_folder import PairFile
from adcopilot_edge.training.chat_ad.box_scan import BoxReader, BoxScan
from adcopilot_edge.training.chat_ad.source import SourceDefect, SourceImage

LIST = "pairs.jsonl"


@dataclass(frozen=True, slots=True)
class ListReader(BoxReader):
    """Pairs of a list that names golden image, part, and the boxes or the mask of its defects."""

    name: str = "list"

    def matches(self, root: Path) -> bool:
        """Whether there is ``pairs.jsonl``."""
        return (root / LIST).is_file()

    def scan(self, root: Path, source: str) -> BoxScan:
        """All parts in the order of the list; the golden images are their templates.

        Raises:
            DatasetError: A line has another form, or a file is missing.
        """
        return _scan(root, source)


def _scan(root: Path, source: str) -> BoxScan:
    scan = BoxScan(root, advice=f"its {LIST} needs pairs")
    pairs = read_pair_list(root / LIST).pairs
    usable = {path for path in sorted({pair.golden for pair in pairs}) if scan.measure(path)}
    for pair in pairs:
        if scan.measure(pair.test) and pair.golden in usable:
            scan.images.append(
                SourceImage(
                    path=pair.test,
                    source=source,
                    category=pair.category,
                    split="train",
                    defects=_defects(pair),
                    template=pair.golden,
                )
            )
    return scan


def _defects(pair: PairFile) -> tuple[SourceDefect, ...]:
    """One defect a box, or one of the mask or of no place."""
    boxes = pair.boxes or ()
    if len(pair.labels) == len(boxes):
        return tuple(
            SourceDefect(label=label, boxes=(box,))
            for label, box in zip(pair.labels, boxes, strict=True)
        )
    return tuple(
        SourceDefect(label=label, boxes=boxes, mask=pair.mask) for label in pair.labels[:1]
    )
