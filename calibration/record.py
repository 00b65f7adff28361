"""The record of calibration pairs that lies in a bundle: which they were, and what they cover.

Pairs are told by the hash of their pixels, so that the record holds wherever the files lie.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.errors import DatasetError
from adcopilot_edge.types import LabelledPair

if TYPE_CHECKING:
    from adcopilot_edge.calibration.pairs import CalibrationPairs

RECORD_FILE = "calibration.json"


def hash_pair(pair: LabelledPair) -> str:
    """The SHA-256 over the pixels of golden and test, and their shapes."""
    digest = hashlib.sha256()
    for image in (pair.golden, pair.test):
        digest.update(repr(image.shape).encode())
        digest.update(image.tobytes())
    return digest.hexdigest()


def write_record(path: Path, calibration: CalibrationPairs) -> None:
    """Write name, category and hash of each of the pairs, and their coverage where it is known."""
    pairs = [
        {"name": pair.name, "category": pair.category, "sha256": hash_pair(pair)}
        for pair in calibration.pairs
    ]
    coverage = calibration.coverage
    content = {
        "source": calibration.name,
        "coverage": None if coverage is None else coverage.to_json(),
        "pairs": pairs,
    }
    with atomic_write(path) as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")


def read_hashes(path: Path) -> frozenset[str]:
    """The hashes of the pairs in a record. Raises DatasetError if it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return frozenset(str(pair["sha256"]) for pair in content["pairs"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise DatasetError(
            f"{path} is no record of calibration pairs: {err!r}. Export the bundle again"
        ) from err
