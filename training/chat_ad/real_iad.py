"""Real-IAD: one JSON file a category, with the splits, codes of defects, and paths of masks.

{"meta": {"prefix", "normal_class"}, "train": [...], "test": [...]}, in each entry category,
anomaly_class, image_path and mask_path. Knows nothing of pictures that no JSON file names, for
the data set has several sets of JSON files that each name a part of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adcopilot_edge.training.chat_ad.files import natural_key
from adcopilot_edge.training.chat_ad.scan import Scan, ScanReader
from adcopilot_edge.training.chat_ad.source import SourceDefect, SourceImage

DEFECTS = {
    "AK": "pit",
    "BX": "deformation",
    "CH": "abrasion",
    "HS": "scratch",
    "PS": "damage",
    "QS": "missing parts",
    "YW": "foreign objects",
    "ZW": "contamination",
}
_SPLITS = ("train", "test")
_JSON_FOLDERS = ("", "realiad_jsons", "realiad_jsons/realiad_jsons")
# From the finest: where several sizes were unpacked, the first that has the pictures counts.
_PICTURE_FOLDERS = ("", "realiad_raw", "realiad_1024", "realiad_512", "realiad_256")


@dataclass(frozen=True, slots=True)
class RealIadReader(ScanReader):
    """Real-IAD; ``root`` holds JSON files and pictures, or the folders they are unpacked to."""

    name: str = "real-iad"

    def matches(self, root: Path) -> bool:
        """Whether the first JSON file tells its normal class in its first mebibyte."""
        for path in _json_files(root)[:1]:
            with path.open("rb") as stream:
                return b'"normal_class"' in stream.read(1 << 20)
        return False

    def scan(self, root: Path, source: str) -> Scan:
        """JSON files by name, training images first, entries in their order."""
        scan = Scan()
        for path in _json_files(root):
            content = _read_json(scan, path)
            if content is None:
                continue
            folder = _picture_folder(scan, root, path, content)
            if folder is None:
                continue
            normal = str(content["meta"]["normal_class"])
            for split in _SPLITS:
                for place, entry in enumerate(content[split]):
                    where = f"{split}[{place}]"
                    image = _image(scan, path, where, folder, entry, normal, split, source)
                    if image is not None:
                        scan.images.append(image)
        return scan


def _json_files(root: Path) -> list[Path]:
    """The JSON files of the first folder that has some."""
    for name in _JSON_FOLDERS:
        if found := sorted((root / name).glob("*.json"), key=natural_key):
            return found
    return []


def _read_json(scan: Scan, path: Path) -> dict[str, Any] | None:
    """The content of a JSON file of the right form."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        scan.refuse(path, f"can't be read as JSON: {err}; copy it again")
        return None
    meta = content.get("meta") if isinstance(content, dict) else None
    is_whole = isinstance(meta, dict) and "normal_class" in meta
    if not is_whole or not all(isinstance(content.get(split), list) for split in _SPLITS):
        scan.refuse(
            path, "lacks meta.normal_class or a list train or test; copy it again or move it away"
        )
        return None
    return content


def _picture_folder(scan: Scan, root: Path, path: Path, content: dict[str, Any]) -> Path | None:
    """The folder that the paths of a JSON file are relative to."""
    prefix = str(content["meta"].get("prefix") or "")
    names = [name for split in _SPLITS for name in _paths(content[split])]
    folders = [root / name / prefix for name in _PICTURE_FOLDERS]
    for folder in folders:
        if any((folder / name).is_file() for name in names):
            return folder
    if names:
        scan.refuse(
            path,
            f"names {len(names)} pictures, none of which is in {root / prefix}; unpack the "
            "category's pictures, or move the JSON file away",
        )
    return folders[0] if not names else None


def _paths(entries: Iterable[Any]) -> Iterable[str]:
    """The paths of the images that entries name."""
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("image_path"), str):
            yield entry["image_path"]


def _image(
    scan: Scan,
    path: Path,
    where: str,
    folder: Path,
    entry: Any,
    normal: str,
    split: str,
    source: str,
) -> SourceImage | None:
    """The image of an entry; None where there is none."""
    try:
        category, name = entry["category"], entry["image_path"]
        code = str(entry["anomaly_class"])
        mask_name = entry.get("mask_path")
    except (KeyError, TypeError, AttributeError):
        scan.refuse(path, f"{where} lacks category, anomaly_class or image_path; copy it again")
        return None
    image, mask = folder / str(name), folder / str(mask_name) if mask_name else None
    if not image.is_file():
        scan.refuse(path, f"{where} names {name}, which is missing; unpack the pictures again")
        return None
    if mask is not None and not mask.is_file():
        scan.note(path, f"{where} names {mask_name}, which is missing; unpack the masks again")
        mask = None
    elif code != normal and mask is None:
        scan.note(path, f"{where} has no mask for {name}, so the defect's place is unknown")
    if code == normal and mask is not None:
        scan.note(path, f"{where} gives a mask to {name}, which is normal; correct one")
    if code != normal and code not in DEFECTS:
        scan.note(
            path,
            f"{where} has the unknown code '{code}', expected {normal} or one of "
            f"{', '.join(DEFECTS)}; it stays the label",
        )
    defects: tuple[SourceDefect, ...] = ()
    if code != normal:
        defects = (SourceDefect(label=DEFECTS.get(code, code), mask=mask),)
    return SourceImage(
        path=image, source=source, category=str(category), split=split, defects=defects
    )
