"""KolektorSDD and KolektorSDD2: a label for every image, black where nothing is wrong.

KolektorSDD: kosNN/PartN.jpg and kosNN/PartN_label.bmp. KolektorSDD2: train|test/NNNNN.png and
NNNNN_GT.png. Knows one type of defect, as the data sets do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.training.chat_ad.files import grey_values, pictures, subfolders
from adcopilot_edge.training.chat_ad.scan import Scan, ScanReader
from adcopilot_edge.training.chat_ad.source import SourceDefect, SourceImage

_SPLITS = ("train", "test")


@dataclass(frozen=True, slots=True)
class KolektorReader(ScanReader):
    """Both sets; labels are decoded, for only their pixels tell a normal part.

    KolektorSDD has no split: its images are ``train``. A part whose label is missing or damaged
    may be either, so the layout is broken there.
    """

    name: str = "kolektor"

    def matches(self, root: Path) -> bool:
        """Whether a picture and its label lie side by side."""
        for folder, suffix, _, _ in _groups(root):
            found = pictures(folder)
            names = {path.stem for path in found}
            if any(path.stem + suffix in names for path in found):
                return True
        return False

    def scan(self, root: Path, source: str) -> Scan:
        """Folders and images in natural order."""
        scan = Scan()
        for folder, suffix, category, split in _groups(root):
            found = pictures(folder)
            labels = {path.stem: path for path in found if path.stem.endswith(suffix)}
            images = []
            for path in found:
                if suffix not in path.stem:
                    images.append(path)
                elif path.stem not in labels:
                    scan.note(path, "is neither an image nor a label by its name; remove it")
            for path in images:
                label = labels.pop(path.stem + suffix, None)
                defects = _defects(scan, path, label)
                if defects is not None:
                    scan.images.append(
                        SourceImage(
                            path=path,
                            source=source,
                            category=category,
                            split=split,
                            defects=defects,
                        )
                    )
            for stem, path in labels.items():
                image = stem.removesuffix(suffix)
                scan.note(path, f"is a label without an image {image}; add it, or remove the label")
        return scan


def _groups(root: Path) -> Iterable[tuple[Path, str, str, str]]:
    """Folders with the ending of their labels, their category and their split."""
    for folder in subfolders(root):
        if folder.name.startswith("kos"):
            yield folder, "_label", "commutator", "train"
    for split in _SPLITS:
        if (root / split).is_dir():
            yield root / split, "_GT", "surface", split


def _defects(scan: Scan, image: Path, label: Path | None) -> tuple[SourceDefect, ...] | None:
    """The defect of an image, none of a normal one, None where that is unknown."""
    if label is None:
        scan.refuse(image, "has no label, so it is not known whether it is normal; copy it again")
        return None
    values = grey_values(label)
    if values is None:
        scan.refuse(
            label,
            "can't be read, so it is not known whether the part is normal; copy the label again",
        )
        return None
    return (SourceDefect(label="defect", mask=label),) if values else ()
