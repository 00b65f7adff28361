"""MVTec LOCO: logical and structural anomalies, several masks an image, values that tell the type.

CATEGORY/test/KIND/NNN.png, CATEGORY/ground_truth/KIND/NNN/000.png, and in defects_config.json
what the value of a mask's pixels means. Knows no other meaning of a mask's values.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from adcopilot_edge.training.chat_ad.files import (
    by_stem,
    grey_values,
    pictures,
    repeated,
    subfolders,
)
from adcopilot_edge.training.chat_ad.mvtec import (
    NORMAL_FOLDERS,
    SPLITS,
    TRUTH,
    categories,
    plain_images,
)
from adcopilot_edge.training.chat_ad.scan import Scan, ScanReader
from adcopilot_edge.training.chat_ad.source import SourceDefect

KINDS = ("logical_anomalies", "structural_anomalies")
_CONFIG = "defects_config.json"


@dataclass(frozen=True, slots=True)
class LocoReader(ScanReader):
    """MVTec LOCO; masks are decoded, for only their pixels tell the type of a defect.

    A mask gives one defect for each of its values, so two masks of the same type are two defects.
    """

    name: str = "mvtec-loco"

    def matches(self, root: Path) -> bool:
        """Whether a category has the kinds of anomalies that only LOCO has."""
        return any(
            (folder / "test" / kind).is_dir() for folder in categories(root) for kind in KINDS
        )

    def scan(self, root: Path, source: str) -> Scan:
        """Categories by name, splits as they are used, folders and images by name."""
        scan = Scan()
        for category in categories(root, scan):
            names = _read_config(scan, category / _CONFIG)
            for split in SPLITS:
                for folder in subfolders(category / split):
                    if folder.name not in (*NORMAL_FOLDERS, *KINDS):
                        scan.refuse(folder, f"is none of good, {', '.join(KINDS)}; rename it")
                        continue
                    _scan_folder(scan, category, folder, source, names)
            _note_lone_masks(scan, category)
        return scan


def _read_config(scan: Scan, path: Path) -> dict[int, str]:
    """Names of defects under the values of their pixels, 1..255."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {int(entry["pixel_value"]): str(entry["defect_name"]) for entry in entries}
    except OSError:
        scan.refuse(path, "is missing, so no mask has a type; copy it from the data set")
    except (ValueError, KeyError, TypeError):
        scan.refuse(
            path, "is no JSON list with pixel_value and defect_name in each entry; copy it again"
        )
    return {}


def _scan_folder(
    scan: Scan, category: Path, folder: Path, source: str, names: dict[int, str]
) -> None:
    """Add the images of CATEGORY/SPLIT/KIND."""
    kind, split = folder.name, folder.parent.name
    images = plain_images(scan, folder, category=category.name, split=split, source=source)
    if kind in NORMAL_FOLDERS:
        scan.images.extend(images)
        return
    for path, first in repeated(by_stem(image.path for image in images)):
        scan.note(path, f"shares its name, and so its masks, with {first.name}; rename one")
    for image in images:
        masks = pictures(category / TRUTH / kind / image.path.stem)
        if not masks:
            scan.note(
                image.path,
                f"has no mask in {TRUTH}/{kind}/{image.path.stem}; add them, or type and place "
                "of its defects are unknown",
            )
        defects = [defect for mask in masks for defect in _defects(scan, mask, kind, names)]
        scan.images.append(replace(image, defects=tuple(defects) or (SourceDefect(label=kind),)))


def _defects(scan: Scan, mask: Path, kind: str, names: dict[int, str]) -> list[SourceDefect]:
    """The defects of one mask; what has no known type is called by its kind."""
    values = grey_values(mask)
    if not values:  # damaged or black: the check of pictures tells which
        return [SourceDefect(label=kind, mask=mask)]
    for value in values:
        if value not in names:
            scan.note(mask, f"has the value {value}, which is not in {_CONFIG}; add its name there")
    return [
        SourceDefect(label=names.get(value, kind), mask=mask, mask_values=(value,))
        for value in values
    ]


def _note_lone_masks(scan: Scan, category: Path) -> None:
    """Tell of folders of masks that belong to no image."""
    for kind in subfolders(category / TRUTH):
        stems = {path.stem for split in SPLITS for path in pictures(category / split / kind.name)}
        for folder in subfolders(kind):
            if folder.name not in stems:
                scan.note(
                    folder,
                    f"holds masks without an image {folder.name} in test/{kind.name}; add the "
                    "image, or remove them",
                )
