"""Labelled pairs as files, and folders of golden, good and bad parts. Opens no picture.

Knows no list and no data set: that is ``calibration.pair_list``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.runtime.images import list_pictures
from adcopilot_edge.types import BBox

UNNAMED = "defect"

_MOST_FINDINGS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFile:
    """A pair that is read when its turn comes, and the truth about its test image.

    boxes: in pixels of the test image, None where they are not known or in ``mask``. labels: one
    for all defects or one a box, none for a good part.
    """

    name: str
    category: str
    golden: Path
    test: Path
    is_anomaly: bool
    boxes: tuple[BBox, ...] | None = None
    labels: tuple[str, ...] = ()
    mask: Path | None = None

    @property
    def has_place(self) -> bool:
        """True where it is known in which pixels the defects are."""
        return self.boxes is not None or self.mask is not None


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Pairs, and a hash over what the list or the folder says of them."""

    pairs: tuple[PairFile, ...]
    sha256: str


def list_pair_folder(root: Path) -> PairFiles:
    """The pairs of ``golden/``, ``good/`` and ``bad/``; a folder in ``bad/`` is a type of defect.

    ``golden/`` holds one image for all parts, or one for each under the part's own name.

    Raises:
        DatasetError: A folder is missing or empty, a part has no golden image, or a name is not
            UTF-8.
    """
    goldens = list_pictures(root / "golden")
    good = [(part, ()) for part in list_pictures(root / "good")]
    bad = [(part, (UNNAMED,)) for part in list_pictures(root / "bad")]
    types = sorted(folder for folder in (root / "bad").glob("*") if folder.is_dir())
    bad += [(part, (folder.name,)) for folder in types for part in list_pictures(folder)]
    if not goldens or not (good or bad):
        raise DatasetError(
            f"{root} holds no labelled pairs: it needs pairs.jsonl, or golden/ with an image and "
            "good/ or bad/ with parts, or DeepPCB's boards.json and pairs/"
        )
    parts = [*goldens, *(part for part, _ in good + bad)]
    names = [part.relative_to(root).as_posix() for part in parts]
    readable = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    if odd := [shown for name, shown in zip(names, readable, strict=True) if shown != name]:
        raise DatasetError(
            f"{root} holds names that are not UTF-8: {', '.join(odd[:_MOST_FINDINGS])}; rename "
            "these files or their folders"
        )
    of_name = {golden.stem: golden for golden in goldens}
    lacking = [part.name for part, _ in good + bad if part.stem not in of_name]
    if lacking and len(goldens) > 1:
        raise DatasetError(
            f"{goldens[0].parent} holds {len(goldens)} images, but none under the name of "
            f"{', '.join(lacking[:_MOST_FINDINGS])}"
        )
    digest = hashlib.sha256()
    for name, path in zip(names, parts, strict=True):
        digest.update(f"{name} {path.stat().st_size}\n".encode())
    pairs = tuple(
        PairFile(
            name=part.relative_to(root).as_posix(),
            category=root.name,
            golden=of_name.get(part.stem, goldens[0]),
            test=part,
            is_anomaly=bool(labels),
            labels=labels,
        )
        for part, labels in good + bad
    )
    return PairFiles(pairs, digest.hexdigest())
