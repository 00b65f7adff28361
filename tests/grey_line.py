"""A line of plain grey parts in folders, of the toy bundle's size; a bundle calibrated on some."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from adcopilot_edge.bundle import Bundle, list_files, open_bundle, write_manifest
from adcopilot_edge.calibration.pairs import CalibrationPairs
from adcopilot_edge.calibration.record import RECORD_FILE, write_record
from adcopilot_edge.types import LabelledPair


def put(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (84, 56), (value, value, value)).save(path)


def write_line(root: Path, *, num_good: int, num_bad: int, first: int = 0) -> Path:
    """Folders of golden, good and bad parts, each of another grey from ``first`` on."""
    put(root / "golden" / "golden.png", 255)
    for index in range(num_good + num_bad):
        kind = "good" if index < num_good else "bad"
        put(root / kind / f"{index}.png", first + index)
    return root


def calibrated(folder: Path, pairs: list[LabelledPair]) -> Bundle:
    """The bundle at ``folder`` with a record of the pairs it was calibrated on."""
    bundle = open_bundle(folder)
    write_record(folder / RECORD_FILE, CalibrationPairs("line", pairs))
    write_manifest(folder, bundle.manifest.model_copy(update={"files": list_files(folder)}))
    return open_bundle(folder)
