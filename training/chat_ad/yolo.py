"""Reads YOLO's text files: ``labels/`` beside ``images/``, a line a defect, in shares of the image.

A line is ``class cx cy w h``, a box, or ``class x1 y1 x2 y2 ...``, a polygon of three points or
more. ``images/train`` goes with ``labels/train``, and ``train/images`` with ``train/labels``. An
image without a file, or with an empty one, is normal. The names are those of ``data.yaml``, of
another YAML file there, or the lines of ``classes.txt``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.box_scan import BoxReader, BoxScan
from adcopilot_edge.training.chat_ad.files import find_files, find_pictures, read_text, subfolder
from adcopilot_edge.training.chat_ad.source import SourceDefect, SourceImage
from adcopilot_edge.training.chat_ad.yolo_names import NAME_LIST, read_names

_SPLITS = ("train", "valid", "val", "test")
_BOX_VALUES = 4
_LEAST_POLYGON = 6


@dataclass(frozen=True, slots=True)
class YoloReader(BoxReader):
    """YOLO: images/ and labels/ with boxes or polygons in shares of the image."""

    name: str = "yolo"

    def matches(self, root: Path) -> bool:
        """Whether there is ``images/`` beside ``labels/`` with text files."""
        return any(find_files(labels, (".txt",)) for _, labels, _ in _places(root))

    def scan(self, root: Path, source: str) -> BoxScan:
        """All images, by split and path.

        Raises:
            DatasetError: A folder or the names are missing.
        """
        return _scan(root, source)


def _places(root: Path) -> list[tuple[Path, Path, str | None]]:
    """Pairs of images/ and labels/; the split, or None where the folders in them tell it."""
    places: list[tuple[Path, str | None]] = [(root, None)]
    for split in _SPLITS:
        folder = subfolder(root, split)
        places += [(folder, split)] if folder else []
    found = []
    for folder, split_or_none in places:
        images, labels = subfolder(folder, "images"), subfolder(folder, "labels")
        if images and labels:
            found.append((images, labels, split_or_none))
    return found


def _scan(root: Path, source: str) -> BoxScan:
    scan = BoxScan(root, advice="it needs pictures in images/")
    places = _places(root)
    if not places:
        raise DatasetError(
            f"{root} has no images/ beside labels/, nor have train/, val/ or test/ in it; "
            "give the folder that holds them"
        )
    names = read_names(root, [labels for _, labels, _ in places])
    for images, labels, split in places:
        unread = {path for path in find_files(labels, (".txt",)) if path.name != NAME_LIST}
        for picture in find_pictures(images):
            inside = picture.relative_to(images)
            annotation = labels / inside.with_suffix(".txt")
            unread.discard(annotation)
            size = scan.measure(picture)
            if size is None:
                continue
            defects = _defects(scan, annotation, size, names)
            own_split = split or (inside.parts[0] if len(inside.parts) > 1 else "train")
            if defects is not None:
                scan.images.append(
                    SourceImage(
                        path=picture,
                        source=source,
                        category=source,
                        split=own_split,
                        defects=defects,
                    )
                )
        for path in sorted(unread):
            scan.tell(path, f"has no picture of its name in {images}; restore it or remove this")
    return scan


def _defects(
    scan: BoxScan, path: Path, size: tuple[int, int], names: dict[int, str]
) -> tuple[SourceDefect, ...] | None:
    """What the lines of ``path`` say; None where the file can't be read."""
    if not path.exists():
        return ()
    try:
        lines = read_text(path).splitlines()
    except DatasetError as err:
        scan.tell(path, str(err))
        return None
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    return tuple(
        _defect(scan, path, line.split(), f"line {number}", size, names)
        for number, line in numbered
    )


def _defect(
    scan: BoxScan,
    path: Path,
    words: list[str],
    name: str,
    size: tuple[int, int],
    names: dict[int, str],
) -> SourceDefect:
    """The defect of a line; one that can't be read is a defect without a name, somewhere."""
    try:
        kind, values = int(words[0]), [float(word) for word in words[1:]]
    except ValueError:
        kind, values = -1, []
    is_box = len(values) == _BOX_VALUES
    is_polygon = len(values) >= _LEAST_POLYGON and len(values) % 2 == 0
    if kind < 0 or not (is_box or is_polygon) or not all(map(math.isfinite, values)):
        scan.tell(
            path,
            f"{name}: expected 'class cx cy w h' or 'class x1 y1 x2 y2 x3 y3 ...', "
            f"got {' '.join(words)!r}",
        )
        return SourceDefect(label=names.get(kind, "defect"))
    if kind not in names:
        known = f"0 to {max(names)}" if names else "none"
        scan.tell(
            path, f"{name}: class {kind} has no name (named are {known}); add it to the names"
        )
    label = names.get(kind, f"class {kind}")
    width, height = size
    if is_polygon:
        ring = [(x * width, y * height) for x, y in zip(values[::2], values[1::2], strict=True)]
        placed = scan.place_ring(ring, size, path, name)
        return SourceDefect(label=label, polygons=(placed,) if placed else ())
    cx, cy, w, h = values[0] * width, values[1] * height, values[2] * width, values[3] * height
    box = scan.place((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), size, path, name)
    return SourceDefect(label=label, boxes=(box,) if box else ())
