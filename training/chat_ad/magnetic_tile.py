"""The magnetic tiles' defects: one folder a type, the mask beside its image under the same name.

MT_Free/Imgs and MT_TYPE/Imgs with NAME.jpg and NAME.png. Knows no other types than the set has.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.training.chat_ad.files import pictures, subfolders
from adcopilot_edge.training.chat_ad.scan import Scan, ScanReader
from adcopilot_edge.training.chat_ad.source import SourceDefect, SourceImage

_PREFIX, _NORMAL = "MT_", "Free"
TYPES = ("Blowhole", "Break", "Crack", "Fray", "Uneven")
_CATEGORY = "magnetic tile"


@dataclass(frozen=True, slots=True)
class MagneticTileReader(ScanReader):
    """The data set has no split: its images are ``train``."""

    name: str = "magnetic-tile"

    def matches(self, root: Path) -> bool:
        """Whether a folder MT_TYPE has a folder Imgs."""
        return any((root / f"{_PREFIX}{kind}" / "Imgs").is_dir() for kind in (_NORMAL, *TYPES))

    def scan(self, root: Path, source: str) -> Scan:
        """Types by name, images in natural order."""
        scan = Scan()
        for folder in subfolders(root):
            if not folder.name.startswith(_PREFIX):
                continue
            kind = folder.name.removeprefix(_PREFIX)
            if kind not in (_NORMAL, *TYPES):
                scan.refuse(folder, f"has no type of this data set ({', '.join(TYPES)}); rename it")
                continue
            found = pictures(folder / "Imgs")
            if not found:
                scan.note(folder / "Imgs", "holds no picture; copy the folder again")
            masks = {path.stem: path for path in found if path.suffix.lower() == ".png"}
            for path in found:
                if path.suffix.lower() != ".png":
                    mask = masks.pop(path.stem, None)
                    scan.images.append(_image(scan, path, mask, kind, source))
            for stem, path in masks.items():
                scan.note(path, f"is a mask without an image {stem}.jpg; add it, or remove it")
        return scan


def _image(scan: Scan, path: Path, mask: Path | None, kind: str, source: str) -> SourceImage:
    """An image of a type; the mask of a normal one says nothing."""
    defects: tuple[SourceDefect, ...] = ()
    if kind != _NORMAL:
        defects = (SourceDefect(label=kind, mask=mask),)
        if mask is None:
            scan.note(
                path,
                f"has no mask {path.stem}.png beside it; add it, or the place of its defect is "
                "unknown",
            )
    return SourceImage(path=path, source=source, category=_CATEGORY, split="train", defects=defects)
