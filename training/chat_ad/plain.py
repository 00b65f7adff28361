"""Reads folders of a line's own pictures: ``golden/``, ``good/`` and ``bad/``.

How they belong together is known to ``runtime.pair_folder``; nobody says where a defect is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.runtime.images import list_pictures
from adcopilot_edge.runtime.pair_folder import list_pair_folder
from adcopilot_edge.training.chat_ad.box_scan import BoxReader, BoxScan
from adcopilot_edge.training.chat_ad.source import SourceDefect, SourceImage


@dataclass(frozen=True, slots=True)
class PlainReader(BoxReader):
    """Your own pictures in golden/, good/ and bad/; a folder in bad/ is a type of defect."""

    name: str = "plain"

    def matches(self, root: Path) -> bool:
        """Whether there is ``golden/`` with ``good/`` or ``bad/``."""
        parts = (root / "good", root / "bad")
        return bool(list_pictures(root / "golden")) and any(part.is_dir() for part in parts)

    def scan(self, root: Path, source: str) -> BoxScan:
        """All parts, good ones first; the golden images are their templates.

        Raises:
            DatasetError: A folder is missing or empty, or a part has no golden image.
        """
        return _scan(root, source)


def _scan(root: Path, source: str) -> BoxScan:
    scan = BoxScan(root, advice="it needs pictures in good/ or bad/")
    pairs = list_pair_folder(root).pairs
    usable = {path for path in sorted({pair.golden for pair in pairs}) if scan.measure(path)}
    for pair in pairs:
        if scan.measure(pair.test) and pair.golden in usable:
            scan.images.append(
                SourceImage(
                    path=pair.test,
                    source=source,
                    category=source,
                    split="train",
                    defects=tuple(SourceDefect(label=label) for label in pair.labels),
                    template=pair.golden,
                )
            )
    return scan
