"""The layouts that can be read, and which of them a folder has. Knows no file of any layout.

A reader raises for a layout that is broken as a whole, which includes a table that names files that
are not there. An image or a defect that can't be used is told by its ``survey``: the image is left
out, or the defect has no place.
"""

from __future__ import annotations

from pathlib import Path

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.coco import CocoReader
from adcopilot_edge.training.chat_ad.deeppcb_source import DeepPcbReader
from adcopilot_edge.training.chat_ad.kolektor import KolektorReader
from adcopilot_edge.training.chat_ad.listed import ListReader
from adcopilot_edge.training.chat_ad.loco import LocoReader
from adcopilot_edge.training.chat_ad.magnetic_tile import MagneticTileReader
from adcopilot_edge.training.chat_ad.mvtec import MvtecReader
from adcopilot_edge.training.chat_ad.plain import PlainReader
from adcopilot_edge.training.chat_ad.real_iad import RealIadReader
from adcopilot_edge.training.chat_ad.source import Reader
from adcopilot_edge.training.chat_ad.visa import VisaReader
from adcopilot_edge.training.chat_ad.voc import VocReader
from adcopilot_edge.training.chat_ad.yolo import YoloReader

READERS: tuple[Reader, ...] = (
    DeepPcbReader(),
    ListReader(),
    PlainReader(),
    MvtecReader(),
    LocoReader(),
    VisaReader(),
    RealIadReader(),
    KolektorReader(),
    MagneticTileReader(),
    CocoReader(),
    VocReader(),
    YoloReader(),
)
"""In the order in which they are tried."""


def find_reader(root: Path, name: str | None = None) -> Reader:
    """The reader called ``name``, or without a name the first that knows the layout of ``root``.

    Raises:
        DatasetError: There is no such folder, no reader knows it, or none is called so.
    """
    known = ", ".join(reader.name for reader in READERS)
    if not root.is_dir():
        raise DatasetError(f"there is no folder {root}; give the folder of a data set")
    for reader in READERS:
        if reader.name == name or (name is None and reader.matches(root)):
            return reader
    if name is not None:
        raise DatasetError(f"there is no layout {name!r}; known are: {known}")
    raise DatasetError(
        f"{root} has none of the known layouts: {known}; give the folder that holds the data set's "
        "own folders, or name the layout with --layout to see what it lacks"
    )
