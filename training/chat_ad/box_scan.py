"""What a reader of boxes gathers while it goes through a folder: images, and all that is wrong.

Knows no layout. Of a picture it reads the header, for its size. What can't be used is told as a
finding, and never makes a defective image look normal: a defect whose place can't be used stays, in
an unknown place, and an image of which nobody knows whether it is normal is left out.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.entries import join_entries
from adcopilot_edge.training.chat_ad.files import read_size
from adcopilot_edge.training.chat_ad.source import Finding, SourceImage, Survey
from adcopilot_edge.types import BBox

UNPLACED = "so its defects are kept without their places"
"""What a finding says where boxes are for a picture of another size."""

# Half a pixel: what a place may lie outside because its numbers were stored with few digits.
_SLACK = 0.5


class BoxScan:
    """The images of a folder and what is wrong with it, in the order in which they were found.

    advice: what the folder needs, for the message when no image of it can be used.
    """

    def __init__(self, root: Path, *, advice: str) -> None:
        self.root = root
        self.advice = advice
        self.images: list[SourceImage] = []
        self.findings: list[Finding] = []

    def tell(self, path: Path, what: str) -> None:
        """Note that something is wrong with ``path``."""
        self.findings.append(Finding(path, what))

    def measure(self, path: Path) -> tuple[int, int] | None:
        """Width and height as of ``read_size``; None, and a finding, if it is unreadable."""
        try:
            return read_size(path)
        except DatasetError as err:
            self.tell(path, str(err))
            return None

    def place(
        self, box: Sequence[float], size: tuple[int, int], path: Path, name: str
    ) -> BBox | None:
        """``box`` clipped to the image, or None where nothing can be used of it.

        Args:
            box: (x1, y1, x2, y2) in pixels, x2 and y2 exclusive.
            size: Width and height of the image.
            path: The annotation, which is told if the box is not inside the image.
            name: What messages call the box there, as "line 3".
        """
        x1, y1, x2, y2 = box
        width, height = size
        if not all(map(math.isfinite, box)):
            self.tell(path, f"{name}: a corner is no finite number; correct the box")
            return None
        corners = f"({x1:g}, {y1:g}, {x2:g}, {y2:g})"
        if x1 >= x2 or y1 >= y2:
            self.tell(path, f"{name}: the box {corners} has no area; correct or remove it")
            return None
        a, b, c, d = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
        if max(a - x1, b - y1, x2 - c, y2 - d) > _SLACK:
            self.tell(
                path,
                f"{name}: the box {corners} is not inside the image of {width}x{height} pixels; "
                "correct it, or check that the annotation is of this image",
            )
        return (a, b, c, d) if a < c and b < d else None

    def place_ring(
        self, ring: Sequence[tuple[float, float]], size: tuple[int, int], path: Path, name: str
    ) -> tuple[tuple[float, float], ...] | None:
        """``ring`` with its points clipped to the image, or None as ``place`` of its box gives."""
        xs, ys = [x for x, _ in ring], [y for _, y in ring]
        if not all(map(math.isfinite, xs + ys)):
            self.tell(path, f"{name}: a point is no finite number; correct the polygon")
            return None
        if self.place((min(xs), min(ys), max(xs), max(ys)), size, path, name) is None:
            return None
        width, height = size
        clipped = tuple((min(max(x, 0.0), width), min(max(y, 0.0), height)) for x, y in ring)
        if _area(clipped) > 0:
            return clipped
        self.tell(path, f"{name}: the polygon has no area in the image; correct or remove it")
        return None

    def whole(self) -> list[SourceImage]:
        """All images.

        Raises:
            DatasetError: There is none.
        """
        if self.images:
            return self.images
        first = f" ({self.findings[0].path}: {self.findings[0].what})" if self.findings else ""
        raise DatasetError(f"{self.root} holds no image that can be used{first}; {self.advice}")


class BoxReader(ABC):
    """A ``Reader`` that finds images and faults in one pass, in which it reads headers."""

    @abstractmethod
    def scan(self, root: Path, source: str) -> BoxScan:
        """All entries of images below ``root`` and what is wrong with it.

        Raises:
            DatasetError: The layout is broken as a whole.
        """

    def read(self, root: Path, *, source: str) -> list[SourceImage]:
        """All images in a fixed order.

        Raises:
            DatasetError: The layout is broken, or no image can be used.
        """
        return self._joined(root, source).whole()

    def survey(self, root: Path, *, source: str) -> Survey:
        """What a folder holds and what is wrong with it, by one pass over it."""
        try:
            scan = self._joined(root, source)
            if not scan.findings:
                scan.whole()
        except DatasetError as err:
            return Survey((), (Finding(root, str(err)),))
        return Survey(tuple(scan.images), tuple(scan.findings))

    def _joined(self, root: Path, source: str) -> BoxScan:
        scan = self.scan(root, source)
        scan.images, found = join_entries(scan.images)
        scan.findings += found
        return scan


def _area(ring: Sequence[tuple[float, float]]) -> float:
    """The area inside a ring, by the shoelace formula."""
    following = [*ring[1:], ring[0]]
    twice = sum(a * d - c * b for (a, b), (c, d) in zip(ring, following, strict=True))
    return abs(twice) / 2
