"""What is kept of many pictures, as one file of arrays. Knows no category."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.fingerprint import Fingerprint, hash_look
from adcopilot_edge.training.chat_ad.likeness import describe_picture
from adcopilot_edge.training.chat_ad.look import Look, look_at
from adcopilot_edge.training.chat_ad.source import Finding

if TYPE_CHECKING:
    from PIL import Image

    from adcopilot_edge.types import FloatArray


@dataclass(slots=True)
class Looks:
    """Pictures by path; unreadable: those that have none, with why."""

    looks: dict[Path, Look] = field(default_factory=dict)
    fingerprints: dict[Path, Fingerprint] = field(default_factory=dict)
    unreadable: list[Finding] = field(default_factory=list)

    def update(self, other: Looks) -> None:
        """Take in another's."""
        self.looks.update(other.looks)
        self.fingerprints.update(other.fingerprints)
        self.unreadable.extend(other.unreadable)


def look_at_all(paths: Sequence[Path]) -> Looks:
    """Decode each picture once, for its template's sake and for that of its duplicates."""
    all_of = Looks()
    for path in paths:
        hashes: list[str] = []

        def describe(picture: Image.Image, hashes: list[str] = hashes) -> FloatArray:
            hashes.append(hash_look(picture))
            return describe_picture(picture)

        look = look_at(path, describe)
        if isinstance(look, Finding):
            all_of.unreadable.append(look)
        else:
            all_of.looks[path] = look
            all_of.fingerprints[path] = Fingerprint(look.pixels, hashes[0])
    return all_of


def save_looks(path: Path, all_of: Looks) -> None:
    """Write the file; it is whole or not there.

    Raises:
        OSError: It can't be written.
    """
    known = list(all_of.looks.values())
    facts = {
        "looks": [
            [str(one.path), one.size, one.pixels, all_of.fingerprints[one.path].look]
            for one in known
        ],
        "unreadable": [[str(one.path), one.what] for one in all_of.unreadable],
    }
    vectors = np.stack([one.vector for one in known]) if known else np.zeros((0, 0), np.float32)
    with atomic_write(path) as file:
        np.savez(file, vectors=vectors, facts=np.array(json.dumps(facts)))


def load_looks(path: Path) -> Looks:
    """The pictures of a file.

    Raises:
        DatasetError: It is missing or damaged.
    """
    all_of = Looks()
    try:
        with np.load(path) as arrays:
            vectors, facts = arrays["vectors"], json.loads(str(arrays["facts"]))
        for vector, (name, size, pixels, look) in zip(vectors, facts["looks"], strict=True):
            place = Path(name)
            all_of.looks[place] = Look(
                path=place, size=(size[0], size[1]), vector=vector, pixels=pixels
            )
            all_of.fingerprints[place] = Fingerprint(pixels, look)
        all_of.unreadable = [Finding(Path(name), what) for name, what in facts["unreadable"]]
    except (OSError, ValueError, KeyError) as err:
        raise DatasetError(
            f"{path} can't be read ({type(err).__name__}); remove the folder of the unfinished "
            "run and start again"
        ) from err
    return all_of
