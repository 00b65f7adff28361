"""Reads COCO's JSON: images, categories, and annotations with boxes or polygons.

The files lie in ``annotations/``, in the folder itself, or, as ``_annotations.coco.json``, in those
of the splits; the pictures are looked for under their ``file_name`` in the folders that go with
such a file. An annotation's polygons are its place where it has some, else its box is. Masks in
run-length code are not read: they are told, and their box is used. An image without annotations is
normal.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.box_scan import UNPLACED, BoxReader, BoxScan
from adcopilot_edge.training.chat_ad.files import read_text
from adcopilot_edge.training.chat_ad.source import SourceDefect, SourceImage
from adcopilot_edge.types import BBox

_LISTS = ("images", "annotations", "categories")
_PREFIX = "instances_"
_SPLITS = ("train", "val", "valid", "test")
_LEAST_POLYGON = 6
_ROBOFLOW = "_annotations.coco"


@dataclass(frozen=True, slots=True)
class CocoReader(BoxReader):
    """COCO: a JSON file with images, annotations and categories."""

    name: str = "coco"

    def matches(self, root: Path) -> bool:
        """Whether a JSON file has the three lists."""
        return bool(_files(root))

    def scan(self, root: Path, source: str) -> BoxScan:
        """All images, by file and name.

        Raises:
            DatasetError: A file is no JSON of this form.
        """
        return _scan(root, source)


def _files(root: Path) -> list[Path]:
    """The files that name the three lists."""
    found = sorted(
        path
        for place in ("*.json", "annotations/*.json", "*/*.coco.json")
        for path in root.glob(place)
    )
    keys = [f'"{key}"'.encode() for key in _LISTS]
    return [path for path in found if path.is_file() and _has_all(path, keys)]


def _has_all(path: Path, keys: Sequence[bytes]) -> bool:
    """Whether all keys are somewhere in the file, which is not yet parsed."""
    content = path.read_bytes()
    return all(key in content for key in keys)


def _scan(root: Path, source: str) -> BoxScan:
    scan = BoxScan(root, advice="its JSON files need images that are there")
    files = _files(root)
    if not files:
        raise DatasetError(
            f"{root} has no JSON file with {', '.join(_LISTS)}, nor has annotations/; give the "
            "folder that holds it"
        )
    for path in files:
        _File(scan, root, path, source).read()
    return scan


class _File:
    """One JSON file, with what its images and annotations refer to."""

    def __init__(self, scan: BoxScan, root: Path, path: Path, source: str) -> None:
        self.scan = scan
        self.path = path
        self.source = source
        self.record = _load(path)
        if path.stem == _ROBOFLOW:
            self.split = "train" if path.parent == root else path.parent.name
        else:
            is_named = path.stem.startswith(_PREFIX) or path.stem in _SPLITS
            self.split = path.stem.removeprefix(_PREFIX) if is_named else "train"
        folders = (root, path.parent, root / "images", root / self.split)
        self.folders = (*folders, root / "images" / self.split)
        self.names: dict[Any, str] = {}
        for number, item in enumerate(self.record["categories"]):
            if isinstance(item.get("name"), str) and _is_id(item.get("id")):
                self.names[item["id"]] = item["name"]
            else:
                scan.tell(path, f"categories[{number}] needs an id and a name; add them")

    def read(self) -> None:
        """Add all images to the scan."""
        annotations: dict[Any, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
        for number, item in enumerate(self.record["annotations"]):
            image_id = item.get("image_id")
            annotations[image_id if _is_id(image_id) else None].append(
                (f"annotations[{number}]", item)
            )
        seen = set()
        numbered = enumerate(self.record["images"])
        for number, item in sorted(numbered, key=lambda one: str(one[1].get("file_name"))):
            image_id, file_name = item.get("id"), item.get("file_name")
            if not _is_id(image_id) or not isinstance(file_name, str) or image_id in seen:
                self.scan.tell(
                    self.path, f"images[{number}] needs an id of its own and a file_name; add them"
                )
                continue
            seen.add(image_id)
            self._read_image(item, annotations.pop(image_id, []))
        for name, _ in (one for left in annotations.values() for one in left):
            self.scan.tell(
                self.path, f"{name} belongs to no image of the file; correct its image_id"
            )

    def _read_image(self, item: dict[str, Any], told: list[tuple[str, dict[str, Any]]]) -> None:
        picture = self._find(item["file_name"])
        size = self.scan.measure(picture) if picture else None
        if picture is None or size is None:
            return
        stated = (item.get("width"), item.get("height"))
        known: tuple[int, int] | None = size
        if stated not in ((None, None), (0, 0), size):
            known = None
            self.scan.tell(
                self.path,
                f"image {item['file_name']} is said to have {stated[0]}x{stated[1]} pixels, but "
                f"has {size[0]}x{size[1]}, {UNPLACED}; check that picture and annotations belong "
                "together",
            )
        self.scan.images.append(
            SourceImage(
                path=picture,
                source=self.source,
                category=self.source,
                split=self.split,
                defects=tuple(self._defect(name, one, known) for name, one in told),
            )
        )

    def _find(self, file_name: str) -> Path | None:
        """The picture, in the first folder that has it and never outside of these folders."""
        inside = PurePosixPath(file_name.replace("\\", "/"))
        if inside.is_absolute() or ".." in inside.parts:
            self.scan.tell(self.path, f"image {file_name} lies outside of the data set; move it in")
            return None
        places = [folder / inside for folder in self.folders]
        for place in places:
            if place.is_file():
                return place
        tried = ", ".join(dict.fromkeys(str(place.parent) for place in places))
        self.scan.tell(self.path, f"image {file_name} is in none of {tried}; restore it")
        return None

    def _defect(
        self, name: str, item: dict[str, Any], size: tuple[int, int] | None
    ) -> SourceDefect:
        """The defect of an annotation, unplaced where it is for a picture of another size."""
        kind = item.get("category_id")
        label = self.names.get(kind) if _is_id(kind) else None
        if label is None:
            self.scan.tell(
                self.path, f"{name}: category {kind!r} has no name; add it to categories"
            )
            label = f"class {kind}"
        if size is None:
            return SourceDefect(label=label)
        polygons = self._polygons(name, item.get("segmentation"), size)
        box = None
        if not polygons or item.get("bbox") is not None:
            box = self._box(name, item.get("bbox"), size)
        if polygons:
            return SourceDefect(label=label, polygons=polygons)
        return SourceDefect(label=label, boxes=(box,) if box else ())

    def _polygons(
        self, name: str, value: Any, size: tuple[int, int]
    ) -> tuple[tuple[tuple[float, float], ...], ...]:
        """The polygons of a segmentation, or none where one of them can't be used."""
        if isinstance(value, dict):
            self.scan.tell(
                self.path,
                f"{name}: its mask in run-length code is not read, its box is used; write polygons "
                "for the exact place",
            )
            return ()
        rings = [_ring(one) for one in value] if isinstance(value, list) else [None]
        if value is None or not rings:
            return ()
        whole = [ring for ring in rings if ring]
        if len(whole) < len(rings):
            self.scan.tell(
                self.path, f"{name}: a polygon must be [x1, y1, x2, y2, x3, y3, ...]; correct it"
            )
            return ()
        placed = [self.scan.place_ring(ring, size, self.path, name) for ring in whole]
        kept = tuple(ring for ring in placed if ring)
        return kept if len(kept) == len(rings) else ()

    def _box(self, name: str, value: Any, size: tuple[int, int]) -> BBox | None:
        values = _numbers(value)
        if values is None or len(values) != 4:
            self.scan.tell(self.path, f"{name}: bbox must be [x, y, width, height], four numbers")
            return None
        x, y, width, height = values
        return self.scan.place((x, y, x + width, y + height), size, self.path, name)


def _load(path: Path) -> dict[str, Any]:
    """The file's object, with three lists of objects."""
    try:
        record = json.loads(read_text(path))
    except (ValueError, RecursionError) as err:
        raise DatasetError(f"can't read {path} as JSON: {err}; restore the file") from err
    lists = [record.get(key) for key in _LISTS] if isinstance(record, dict) else [None]
    if not all(
        isinstance(one, list) and all(isinstance(item, dict) for item in one) for one in lists
    ):
        raise DatasetError(f"{path} must be one JSON object with lists of {', '.join(_LISTS)}")
    return dict(record)


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str)


def _numbers(value: Any) -> list[float] | None:
    if not isinstance(value, list):
        return None
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in value):
        return None
    try:
        return [float(one) for one in value]
    except OverflowError:  # an integer beyond all floats
        return None


def _ring(value: Any) -> list[tuple[float, float]] | None:
    values = _numbers(value)
    if values is None or len(values) < _LEAST_POLYGON or len(values) % 2:
        return None
    return list(zip(values[::2], values[1::2], strict=True))
