"""VisA: tables of images, the words for their defects, and masks.

CATEGORY/image_anno.csv (image, label, mask) tells what is wrong, split_csv/1cls.csv (object,
split, label, image, mask) which images are for training. Paths are relative to the folder that
holds the categories. Knows no meaning of a mask's values, for the data set tells none.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.training.chat_ad.files import pictures, subfolders
from adcopilot_edge.training.chat_ad.scan import Scan, ScanReader
from adcopilot_edge.training.chat_ad.source import SourceDefect, SourceImage

_TABLE = "image_anno.csv"
_SPLIT_TABLE = "split_csv/1cls.csv"
_NORMAL, _ANOMALY = "normal", "anomaly"
_SPLITS = ("train", "test")
_IMAGE_FOLDERS = ("Data/Images/Normal", "Data/Images/Anomaly")
_MASK_FOLDER = "Data/Masks/Anomaly"


@dataclass(frozen=True, slots=True)
class VisaReader(ScanReader):
    """VisA; ``root`` is a category or the folder that holds them and split_csv.

    A label of several words, ``bent, melded``, stays one defect, for one mask shows all of them.
    """

    name: str = "visa"

    def matches(self, root: Path) -> bool:
        """Whether a category has its table."""
        return any((folder / _TABLE).is_file() for folder in _categories(root))

    def scan(self, root: Path, source: str) -> Scan:
        """Categories by name, images as their table has them."""
        scan = Scan()
        found = _categories(root)
        base = found[0].parent if found else root
        is_one = (root / "Data").is_dir()
        splits = _read_splits(scan, base, found[0].name if is_one else None) if found else {}
        for category in found:
            _scan_category(scan, base, category, source, splits)
        return scan


def _categories(root: Path) -> list[Path]:
    """``root`` itself or the folders in it that have data as VisA has."""
    if (root / "Data").is_dir():
        return [root.resolve()]
    return [folder for folder in subfolders(root) if (folder / "Data" / "Images").is_dir()]


def _read_table(scan: Scan, path: Path, columns: tuple[str, ...]) -> list[tuple[int, list[str]]]:
    """Lines of a table with their numbers, in the order of ``columns``, blanks stripped."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            rows = [(reader.line_num, row) for row in reader]
    except OSError:
        scan.refuse(path, "is missing or can't be opened; copy it from the data set")
        return []
    except (UnicodeDecodeError, csv.Error) as err:
        scan.refuse(path, f"is no CSV in UTF-8: {err}; copy it again")
        return []
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing:
        scan.refuse(path, f"lacks the columns {', '.join(missing)}; copy it again")
        return []
    return [(number, [(row[name] or "").strip() for name in columns]) for number, row in rows]


def _read_splits(scan: Scan, base: Path, only: str | None) -> dict[Path, tuple[str, bool]]:
    """The split of each image and whether it is normal; ``only`` one category's."""
    path = base / _SPLIT_TABLE
    splits: dict[Path, tuple[str, bool]] = {}
    lines = _read_table(scan, path, ("object", "split", "label", "image", "mask"))
    for number, (category, split, label, image, mask) in lines:
        if only is not None and category != only:
            continue
        if split not in _SPLITS or label not in (_NORMAL, _ANOMALY):
            scan.refuse(
                path,
                f"line {number} has the split '{split}' and the label '{label}', expected train "
                "or test and normal or anomaly; correct it",
            )
            continue
        for name in (image, mask):
            if name and not (base / name).is_file():
                scan.refuse(
                    path,
                    f"line {number} names {name}, which is missing; copy it or remove the line",
                )
        splits[base / image] = split, label == _NORMAL
    return splits


def _scan_category(
    scan: Scan, base: Path, category: Path, source: str, splits: dict[Path, tuple[str, bool]]
) -> None:
    """Add the images of a category's table, and tell of files that it does not name."""
    table = category / _TABLE
    images: set[Path] = set()
    masks: set[Path] = set()
    for number, (name, label, mask_name) in _read_table(scan, table, ("image", "label", "mask")):
        path, mask = base / name, base / mask_name if mask_name else None
        where = f"line {number}"
        if not label:
            scan.refuse(table, f"{where} has no label; write normal or what is wrong")
        if not path.is_file():
            scan.refuse(
                table, f"{where} names {name}, which is missing; copy it or remove the line"
            )
            continue
        if path in images:
            scan.note(table, f"{where} names {name} once more; it is not read, remove the line")
            continue
        images.add(path)
        is_normal = label == _NORMAL
        if mask is not None:
            masks.add(mask)
            if not mask.is_file():
                scan.note(table, f"{where} names {mask_name}, which is missing; copy it")
                mask = None
        elif not is_normal:
            scan.note(table, f"{where} has no mask for {name}, so the defect's place is unknown")
        if is_normal and mask is not None:
            scan.note(table, f"{where} gives a mask to {name}, which is normal; correct one")
        split, split_says_normal = splits.get(path, ("", is_normal))
        if not split:
            split = "train" if is_normal else "test"
            scan.note(path, f"is in no line of {_SPLIT_TABLE}; taken as {split}, add it there")
        if split_says_normal != is_normal:
            scan.refuse(
                table,
                f"{where} says '{label}' of {name}, and {_SPLIT_TABLE} the opposite; correct one",
            )
        defects = () if is_normal else (SourceDefect(label=label, mask=mask),)
        scan.images.append(
            SourceImage(
                path=path, source=source, category=category.name, split=split, defects=defects
            )
        )
    _note_unnamed(scan, category, images, masks)


def _note_unnamed(scan: Scan, category: Path, images: set[Path], masks: set[Path]) -> None:
    """Tell of images and masks that no line of the category's table names."""
    for folder in _IMAGE_FOLDERS:
        for path in pictures(category / folder):
            if path not in images:
                scan.note(path, f"is in no line of {_TABLE}; it is not read, add a line")
    for path in pictures(category / _MASK_FOLDER):
        if path not in masks:
            scan.note(path, f"is a mask in no line of {_TABLE}; name it there, or remove it")
