"""One pass over a folder: the images of a layout and all that is wrong; reads and checks from it.

Knows no layout: each reader with masks fills a ``Scan``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.entries import join_entries
from adcopilot_edge.training.chat_ad.files import grey_values, picture_size
from adcopilot_edge.training.chat_ad.source import Finding, SourceImage, Survey


@dataclass(slots=True)
class Scan:
    """What a folder holds.

    images: in the reader's order. broken: why it can't be read. lost: what is missing or
    contradicts itself, without which the images can still be given.
    """

    images: list[SourceImage] = field(default_factory=list)
    broken: list[Finding] = field(default_factory=list)
    lost: list[Finding] = field(default_factory=list)

    def refuse(self, path: Path, what: str) -> None:
        """Note something that makes the layout unreadable."""
        self.broken.append(Finding(path, what))

    def note(self, path: Path, what: str) -> None:
        """Note something that leaves the layout readable."""
        self.lost.append(Finding(path, what))


class ScanReader(ABC):
    """A ``Reader`` that finds images and faults in one pass, before any picture is opened."""

    @abstractmethod
    def scan(self, root: Path, source: str) -> Scan:
        """All entries of images below ``root``, an existing folder, and what is wrong with it.

        That pictures can be read is not its matter.
        """

    def read(self, root: Path, *, source: str) -> list[SourceImage]:
        """All images in a fixed order.

        Raises:
            DatasetError: The layout is broken; the first fault, and how many there are.
        """
        scan = self._scan_or_refuse(root, source)
        if scan.broken:
            first, count = scan.broken[0], len(scan.broken)
            more = f". There are {count} such faults: check the folder for all" if count > 1 else ""
            raise DatasetError(f"{first.path}: {first.what}{more}")
        return scan.images

    def survey(self, root: Path, *, source: str) -> Survey:
        """What a folder holds, nothing where it is broken, and all that is wrong with it.

        Masks are decoded, for only their pixels tell a black one.
        """
        scan = self._scan_or_refuse(root, source)
        findings = (*scan.broken, *scan.lost, *check_pictures(scan.images))
        return Survey(() if scan.broken else tuple(scan.images), findings)

    def _scan_or_refuse(self, root: Path, source: str) -> Scan:
        scan = Scan()
        if not root.is_dir():
            scan.refuse(root, "is no folder; give the folder that the data set was unpacked to")
            return scan
        scan = self.scan(root, source)
        if not scan.images and not scan.broken:
            scan.refuse(
                root,
                "holds no image of this layout; give the folder that holds the data set's own "
                "folders, or name another layout",
            )
        scan.images, found = join_entries(scan.images)
        (scan.lost if scan.images else scan.broken).extend(found)
        return scan


def check_pictures(images: Iterable[SourceImage]) -> Iterator[Finding]:
    """Pictures that can't be read, masks of another size than their images, and black masks."""
    for image in images:
        size = picture_size(image.path)
        if size is None:
            yield Finding(image.path, _unreadable(image.path))
        masks = {defect.mask: None for defect in image.defects if defect.mask is not None}
        for mask in masks:
            yield from _check_mask(mask, size)


def _check_mask(mask: Path, size: tuple[int, int] | None) -> Iterator[Finding]:
    """Faults of one mask of an image of ``size`` (width, height); None: of unknown size."""
    mask_size, values = picture_size(mask), grey_values(mask)
    if mask_size is None or values is None:
        yield Finding(mask, _unreadable(mask))
        return
    if size is not None and mask_size != size:
        yield Finding(
            mask,
            f"the mask has {mask_size[0]}x{mask_size[1]} pixels, its image {size[0]}x{size[1]}; "
            "scale it to the image without smoothing, or copy both again",
        )
    if not values:
        yield Finding(
            mask,
            "the mask is black, so it shows no defect; draw it, or move the image to the normal "
            "ones",
        )


def _unreadable(path: Path) -> str:
    if not path.stat().st_size:
        return "is empty (0 bytes); copy it again"
    return "can't be read as a picture; it is damaged or was cut short, copy it again"
