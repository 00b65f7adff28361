"""What the readers of all layouts give: an image, what is wrong with it, and where that is known.

Knows no layout, opens no picture.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from adcopilot_edge.types import BBox


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDefect:
    """A defect of an image, as its data set tells it.

    label: the data set's name for its type. boxes, polygons: where it is, in pixels of the image,
    (x1, y1, x2, y2) with x2 and y2 exclusive, and rings of (x, y). mask: a picture of the image's
    size in which ``mask_values``, or without them every pixel that is not black, belong to it. A
    defect with none of them is somewhere in the image.
    """

    label: str
    boxes: tuple[BBox, ...] = ()
    polygons: tuple[tuple[tuple[float, float], ...], ...] = ()
    mask: Path | None = None
    mask_values: tuple[int, ...] = ()

    @property
    def is_placed(self) -> bool:
        """Whether it is known where it is."""
        return bool(self.boxes or self.polygons or self.mask)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceImage:
    """One image of a data set.

    source: the data set. category: the product, within which images may be compared. split: as the
    data set has it, ``train`` or ``test`` for most. defects: none for a normal image. template: the
    normal image that is aligned with this one, where the data set names it.
    """

    path: Path
    source: str
    category: str
    split: str
    defects: tuple[SourceDefect, ...] = ()
    template: Path | None = None

    @property
    def is_normal(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.defects


def escaped(text: str) -> str:
    """``text`` with escapes for what is not UTF-8 in names of files."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a folder: where, what, and what to do about it.

    What is not UTF-8 in names of files is escaped, so that a finding can be printed and stored.
    """

    path: Path
    what: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(escaped(str(self.path))))
        object.__setattr__(self, "what", escaped(self.what))


@dataclass(frozen=True, slots=True)
class Survey:
    """What a folder holds: its images, none where it can't be read, and all that is wrong."""

    images: tuple[SourceImage, ...]
    findings: tuple[Finding, ...]


class Reader(Protocol):
    """How a layout is read; no picture is opened but for its header."""

    @property
    def name(self) -> str:
        """Of the layout, as on the command line."""
        ...

    def matches(self, root: Path) -> bool:
        """Whether ``root`` looks like this layout; cheap."""
        ...

    def read(self, root: Path, *, source: str) -> Iterable[SourceImage]:
        """All images in a fixed order, each once.

        Raises:
            DatasetError: The layout is broken; it says where and what to do.
        """
        ...

    def survey(self, root: Path, *, source: str) -> Survey:
        """What ``read`` gives and all that is wrong with the folder, by one pass over it."""
        ...
