"""What must not be learned from because it is evaluated on: classes by name, images by their looks.

Knows no layout and no pair.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.chat_ad.duplicates import DUPLICATE_BITS
from adcopilot_edge.training.chat_ad.files import read_text
from adcopilot_edge.training.chat_ad.fingerprint import Fingerprint
from adcopilot_edge.training.chat_ad.near import NearIndex
from adcopilot_edge.training.chat_ad.source import SourceImage

MMAD = "mmad"
"""What the list of that benchmark's classes is called."""

MMAD_CLASSES: dict[str, tuple[str, ...]] = {
    "MVTec AD": (
        *("bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut"),
        *("pill", "screw", "tile", "toothbrush", "transistor", "wood", "zipper"),
    ),
    "MVTec LOCO": (
        *("breakfast_box", "juice_bottle", "pushpins", "screw_bag", "splicing_connectors"),
    ),
    "VisA": (
        *("candle", "capsules", "cashew", "chewinggum", "fryum", "macaroni1", "macaroni2"),
        *("pcb1", "pcb2", "pcb3", "pcb4", "pipe_fryum"),
    ),
    "GoodsAD": (
        *("cigarette_box", "drink_bottle", "drink_can", "food_bottle", "food_box"),
        *("food_package",),
    ),
}
"""The 38 classes that MMAD asks about, by the data set they are from."""


@dataclass(frozen=True, slots=True)
class ClassList:
    """Names of classes that are evaluated on.

    anywhere: of any source. of_source: of one source only, as (source, class). All normalised.
    """

    anywhere: frozenset[str] = frozenset()
    of_source: frozenset[tuple[str, str]] = frozenset()

    def __contains__(self, image: SourceImage) -> bool:
        category = normalise(image.category)
        return category in self.anywhere or (normalise(image.source), category) in self.of_source


def read_classes(name: str) -> ClassList:
    """``mmad``, or a file with one class a line.

    ``screw`` is left out of every source, since a class of that name may well show the product that
    is evaluated; ``my-line/screw`` only of the source ``my-line``. ``#`` begins a comment. Case,
    blanks, hyphens and underscores do not count: ``metal nut`` is ``Metal_Nut``.

    Raises:
        ConfigError: There is no such file, or it names no class.
    """
    if name == MMAD:
        return ClassList(
            frozenset(normalise(one) for classes in MMAD_CLASSES.values() for one in classes)
        )
    path = Path(name)
    if not path.is_file():
        raise ConfigError(
            f"--exclude-classes {name}: there is no such file; give one with a class a line, or "
            "mmad for the classes of that benchmark"
        )
    lines = [line.split("#", 1)[0].strip() for line in read_text(path).splitlines()]
    split = [line.rpartition("/") for line in lines if line]
    if not split:
        raise ConfigError(f"--exclude-classes {name} names no class; give one a line")
    return ClassList(
        frozenset(normalise(one) for source, _, one in split if not source),
        frozenset((normalise(source), normalise(one)) for source, _, one in split if source),
    )


def normalise(name: str) -> str:
    """A name without case, blanks and punctuation."""
    return re.sub(r"[\W_]+", "", name.casefold())


@dataclass(slots=True)
class EvaluationImages:
    """Images that are evaluated on, to be found again among others by pixels and looks.

    Truth does not matter here: whatever looks like an evaluated image within the limit leaks, also
    a good part of the same product under the same camera. Turned and mirrored copies, and cuts of
    more than about a pixel, are not found.
    """

    bits: int = DUPLICATE_BITS
    _paths: list[Path] = field(default_factory=list)
    _pixels: dict[str, Path] = field(default_factory=dict)
    _looks: NearIndex = field(init=False)

    def __post_init__(self) -> None:
        self._looks = NearIndex(self.bits)

    def add(self, paths: Sequence[Path], fingerprints: Iterable[Fingerprint]) -> None:
        """Take pictures in, with a fingerprint each."""
        for path, one in zip(paths, fingerprints, strict=True):
            self._paths.append(path)
            self._pixels.setdefault(one.pixels, path)
            self._looks.add(one.bits)

    def __len__(self) -> int:
        return len(self._paths)

    def find(self, fingerprint: Fingerprint) -> tuple[Path, int] | None:
        """The evaluated image that this one shows, with how many bits they differ in."""
        if path := self._pixels.get(fingerprint.pixels):
            return path, 0
        near = self._looks.near(fingerprint.bits)
        return (self._paths[near[0][1]], near[0][0]) if near else None
