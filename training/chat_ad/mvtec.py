"""MVTec AD's folders: normal images, one folder of images a defect, and masks beside them.

CATEGORY/train/good, CATEGORY/test/{good,DEFECT}, CATEGORY/ground_truth/DEFECT/NAME_mask.png. MPDD
and GoodsAD are laid out the same; BTAD calls the folders ``ok`` and ``ko`` and a mask as its image.
Knows nothing of masks with several values: that is ``loco``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from adcopilot_edge.training.chat_ad.files import (
    by_stem,
    masks_by_stem,
    pictures,
    repeated,
    subfolders,
)
from adcopilot_edge.training.chat_ad.scan import Scan, ScanReader
from adcopilot_edge.training.chat_ad.source import SourceDefect, SourceImage

NORMAL_FOLDERS = ("good", "ok")
SPLITS = ("train", "validation", "test")
TRUTH = "ground_truth"
_LOCO_FOLDERS = ("logical_anomalies", "structural_anomalies")


@dataclass(frozen=True, slots=True)
class MvtecReader(ScanReader):
    """MVTec AD, MPDD, GoodsAD and BTAD; ``root`` is a category or a folder of categories."""

    name: str = "mvtec"

    def matches(self, root: Path) -> bool:
        """Whether a category has normal training images, and no kinds of anomalies as LOCO has."""
        found = [folder for folder in categories(root) if has_normal_train(folder)]
        return bool(found) and not any(
            (folder / "test" / kind).is_dir() for folder in found for kind in _LOCO_FOLDERS
        )

    def scan(self, root: Path, source: str) -> Scan:
        """Categories by name, splits as they are used, ``good`` among the defects by name."""
        scan = Scan()
        for category in categories(root, scan):
            for split in SPLITS:
                for folder in subfolders(category / split):
                    _scan_folder(scan, category, folder, source)
            _note_lone_masks(scan, category)
        return scan


def is_category(folder: Path) -> bool:
    """Whether a folder has images to train or to test with."""
    return (folder / "train").is_dir() or (folder / "test").is_dir()


def has_normal_train(category: Path) -> bool:
    """Whether there is a folder of normal training images."""
    return any((category / "train" / name).is_dir() for name in NORMAL_FOLDERS)


def categories(root: Path, scan: Scan | None = None) -> list[Path]:
    """``root`` itself or the categories in it; ``scan`` is told of folders that are none."""
    if is_category(root):
        found = [root.resolve()]
    else:
        found = [folder for folder in subfolders(root) if is_category(folder)]
    if scan is not None:
        for folder in found:
            if not has_normal_train(folder):
                scan.refuse(folder, "has no folder train/good; copy the whole category again")
        if found and not is_category(root):
            for folder in subfolders(root):
                if not is_category(folder):
                    scan.note(folder, "has neither train nor test, so it is no category; not read")
    return found


def plain_images(
    scan: Scan, folder: Path, *, category: str, split: str, source: str
) -> list[SourceImage]:
    """The images of a folder, without defects; ``scan`` is told where there are none."""
    found = pictures(folder)
    if not found:
        scan.note(folder, "holds no picture; copy the folder again, or remove it")
    return [SourceImage(path=path, source=source, category=category, split=split) for path in found]


def _scan_folder(scan: Scan, category: Path, folder: Path, source: str) -> None:
    """Add the images of CATEGORY/SPLIT/LABEL."""
    label, split = folder.name, folder.parent.name
    images = plain_images(scan, folder, category=category.name, split=split, source=source)
    if label in NORMAL_FOLDERS:
        scan.images.extend(images)
        return
    masks = masks_by_stem(category / TRUTH / label)
    stems = by_stem(image.path for image in images)
    for path, first in repeated(stems):
        scan.note(path, f"shares its name, and so its mask, with {first.name}; rename one")
    for image in images:
        mask = masks.get(image.path.stem, [None])[0]
        if mask is None:
            scan.note(
                image.path,
                f"has no mask in {TRUTH}/{label}; add it, or the place of its defect is unknown",
            )
        defect = SourceDefect(label=label, mask=mask)
        scan.images.append(replace(image, defects=(defect,)))


def _note_lone_masks(scan: Scan, category: Path) -> None:
    """Tell of masks of no image, and of two masks of one."""
    for folder in subfolders(category / TRUTH):
        masks = masks_by_stem(folder)
        for path, first in repeated(masks):
            scan.note(path, f"is a second mask beside {first.name}; it is not read, remove one")
        stems = {path.stem for split in SPLITS for path in pictures(category / split / folder.name)}
        for stem, paths in masks.items():
            if stem not in stems:
                scan.note(
                    paths[0],
                    f"is a mask without an image {stem} in test/{folder.name}; "
                    "add the image, or remove the mask",
                )
