"""Reads boxes in Pascal VOC's XML, one file an image: NEU-DET, GC10-DET and alike.

Annotations lie in ``Annotations/`` (or ``lable/``, as GC10-DET spells it) of the data set or of
each split (``train/``, ``validation/``), pictures anywhere beside them, found by their file names.
The pixels of VOC count from 1 and xmax and ymax are inside the box, so (xmin, ymin, xmax, ymax) is
(xmin - 1, ymin - 1, xmax, ymax) here. An annotation without objects is a normal image.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.box_scan import UNPLACED, BoxReader, BoxScan
from adcopilot_edge.training.chat_ad.files import (
    by_stem,
    find_files,
    find_pictures,
    read_text,
    subfolder,
)
from adcopilot_edge.training.chat_ad.source import SourceDefect, SourceImage
from adcopilot_edge.types import BBox

_FOLDERS = ("annotations", "annotation", "lable", "label", "labels", "xml")
_SPLITS = ("train", "validation", "valid", "val", "test")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, slots=True)
class VocReader(BoxReader):
    """Pascal VOC: XML files with boxes beside pictures."""

    name: str = "voc"

    def matches(self, root: Path) -> bool:
        """Whether a folder of annotations holds XML files."""
        return bool(_annotations(root))

    def scan(self, root: Path, source: str) -> BoxScan:
        """All images that have an annotation, by split and by the annotation's name.

        Raises:
            DatasetError: There is no annotation.
        """
        return _scan(root, source)


def _scan(root: Path, source: str) -> BoxScan:
    scan = BoxScan(root, advice="each XML file needs its picture")
    folders = _annotations(root)
    if not folders:
        raise DatasetError(
            f"{root} has no XML files in Annotations/, lable/, or those of train/ and validation/; "
            "give the folder that holds them"
        )
    for split, folder in folders:
        pictures = by_stem(find_pictures(folder.parent))
        for annotation in find_files(folder, (".xml",)):
            found = pictures.pop(annotation.stem, [])
            _read_one(scan, annotation, found, source=source, split=split)
        for path in sorted(path for found in pictures.values() for path in found):
            scan.tell(path, f"has no annotation in {folder}; add an XML file or remove the picture")
    return scan


def _annotations(root: Path) -> list[tuple[str, Path]]:
    """The folder with annotations of each split, ``train`` where the data set has no splits."""
    places = [(split, subfolder(root, split)) for split in _SPLITS]
    found = []
    for split, place in [*places, ("train", root)]:
        folder = subfolder(place, *_FOLDERS) if place else None
        if folder and find_files(folder, (".xml",)):
            found.append((split, folder))
    return found


def _read_one(
    scan: BoxScan, annotation: Path, pictures: list[Path], *, source: str, split: str
) -> None:
    if not pictures:
        scan.tell(annotation, "has no picture of its name; restore the picture or remove the file")
        return
    if len(pictures) > 1:
        others = ", ".join(map(str, pictures[1:]))
        scan.tell(pictures[0], f"has the same name as {others}; only the first is used, rename")
    size = scan.measure(pictures[0])
    try:
        tree = _parse(annotation)
    except DatasetError as err:
        scan.tell(annotation, str(err))
        return
    if size is None:
        return
    known = _known_size(scan, annotation, tree, size)
    defects = tuple(
        _defect(scan, annotation, item, known, f"object {number}")
        for number, item in enumerate(tree.iter("object"), start=1)
    )
    scan.images.append(
        SourceImage(path=pictures[0], source=source, category=source, split=split, defects=defects)
    )


def _parse(path: Path) -> ElementTree.Element:
    """The root element. A document type is refused: its entities can expand without end."""
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DatasetError("declares a document type, which no annotation needs; remove the line")
    try:
        return ElementTree.fromstring(text.encode("utf-8"), ElementTree.XMLParser(encoding="utf-8"))
    except ElementTree.ParseError as err:
        raise DatasetError(f"is no XML: {err}; correct or restore it") from err


def _known_size(
    scan: BoxScan, path: Path, tree: ElementTree.Element, size: tuple[int, int]
) -> tuple[int, int] | None:
    """The picture's size; None, and a finding, if the file states another.

    0x0 is what some tools write for unknown.
    """
    words = [tree.findtext(f"size/{key}", "").strip() or "0" for key in ("width", "height")]
    if words in (["0", "0"], [str(side) for side in size]):
        return size
    scan.tell(
        path,
        f"is for {'x'.join(words)} pixels, but its picture has {size[0]}x{size[1]}, {UNPLACED}; "
        "check that they belong together",
    )
    return None


def _defect(
    scan: BoxScan, path: Path, item: ElementTree.Element, size: tuple[int, int] | None, name: str
) -> SourceDefect:
    """The defect of an object, unplaced where the file is for a picture of another size."""
    label = item.findtext("name", "").strip()
    if not label:
        scan.tell(path, f"{name} has no name; add one")
        label = "defect"
    if size is None:
        return SourceDefect(label=label)
    box = _corners(scan, path, item, name)
    placed = scan.place(box, size, path, f"{name}, {label}") if box else None
    return SourceDefect(label=label, boxes=(placed,) if placed else ())


def _corners(scan: BoxScan, path: Path, item: ElementTree.Element, name: str) -> BBox | None:
    """The box with x2 and y2 exclusive, counted from 0."""
    words = [item.findtext(f"bndbox/{key}", "") for key in _CORNERS]
    try:
        x1, y1, x2, y2 = map(float, words)
    except ValueError:
        scan.tell(path, f"{name} needs {', '.join(_CORNERS)} as numbers in bndbox, got {words}")
        return None
    return x1 - 1, y1 - 1, x2, y2
