"""Reads DeepPCB as a source: each scan with its boxes, and the golden scan that it is aligned with.

The form of its files is known to ``deeppcb_files``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.deeppcb_files import SCAN_SIDE, parse_box, read_boards
from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.box_scan import BoxReader, BoxScan
from adcopilot_edge.training.chat_ad.files import read_text
from adcopilot_edge.training.chat_ad.source import SourceDefect, SourceImage

_SUFFIXES = ("_temp.png", "_test.png", ".txt")


@dataclass(frozen=True, slots=True)
class DeepPcbReader(BoxReader):
    """DeepPCB: boards.json and pairs/."""

    name: str = "deeppcb"

    def matches(self, root: Path) -> bool:
        """Whether there are ``boards.json`` and ``pairs/``."""
        return (root / "boards.json").is_file() and (root / "pairs").is_dir()

    def scan(self, root: Path, source: str) -> BoxScan:
        """All test scans by their ids; the goldens are their templates.

        Raises:
            DatasetError: ``boards.json`` is missing or malformed.
        """
        return _scan(root, source)


def _scan(root: Path, source: str) -> BoxScan:
    scan = BoxScan(root, advice="each id of boards.json needs its files in pairs/")
    boards = read_boards(root)
    for pair_id, board in sorted(boards.items()):
        golden, test, annotation = (root / "pairs" / f"{pair_id}{end}" for end in _SUFFIXES)
        sizes = [scan.measure(path) for path in (golden, test)]
        for path, size in zip((golden, test), sizes, strict=True):
            if size not in (None, (SCAN_SIDE, SCAN_SIDE)):
                scan.tell(path, f"must have {SCAN_SIDE}x{SCAN_SIDE} pixels; restore the scan")
        defects = _defects(scan, annotation)
        if defects is not None and sizes == [(SCAN_SIDE, SCAN_SIDE)] * 2:
            scan.images.append(
                SourceImage(
                    path=test,
                    source=source,
                    category=board,
                    split="train",
                    defects=defects,
                    template=golden,
                )
            )
    known = {f"{pair_id}{end}" for pair_id in boards for end in _SUFFIXES}
    for path in sorted((root / "pairs").glob("*")):
        if path.name not in known and path.name.endswith(_SUFFIXES):
            scan.tell(path, "belongs to no id of boards.json; add the id or remove the file")
    return scan


def _defects(scan: BoxScan, path: Path) -> tuple[SourceDefect, ...] | None:
    """The defects of an annotation, or None where it can't be read."""
    try:
        lines = read_text(path).splitlines()
    except DatasetError as err:
        scan.tell(path, str(err))
        return None
    defects = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            box = parse_box(line, path, number)
        except DatasetError as err:
            scan.tell(path, str(err).removeprefix(f"{path}, "))
            defects.append(SourceDefect(label="defect"))
            continue
        x1, y1, x2, y2 = map(float, box.bbox)
        defects.append(SourceDefect(label=box.label, boxes=((x1, y1, x2, y2),)))
    return tuple(defects)
