"""Pictures of good and bad parts of one product, checked before any of them is inspected."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from adcopilot_edge.errors import DatasetError, InputError
from adcopilot_edge.runtime.golden import pixel_hash
from adcopilot_edge.runtime.images import (
    PICTURE_SUFFIXES,
    check_same_aspect,
    list_pictures,
    open_image,
)
from adcopilot_edge.types import ImageArray, OnStep

_MAX_FINDINGS = 20  # lines of a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Files of good and bad parts, each picture once.

    good_sha256, bad_sha256: over the pixels of each kind, whatever the order and the names.
    num_repeated: files left out, since their pixels are those of another file or of the golden
    image: a copy is no further part. good_pixels: the hash of each good part's pixels.
    """

    good: tuple[Path, ...]
    bad: tuple[Path, ...]
    good_sha256: str
    bad_sha256: str
    num_repeated: int
    good_pixels: tuple[str, ...] = ()

    def halves(self) -> tuple[Parts, Parts]:
        """The good parts in two halves that no name or order decides; bad ones in the second."""
        by_pixels = sorted(zip(self.good_pixels, self.good, strict=True))
        first, second = dict(by_pixels[::2]), dict(by_pixels[1::2])
        return (
            _choose(replace(self, bad=(), bad_sha256=_hash_all(())), first),
            _choose(self, second),
        )


def read_parts(golden: ImageArray, good: Path, bad: Path | None, *, on_step: OnStep) -> Parts:
    """Decode every picture of the folders once, and keep the files that can be used.

    Args:
        golden: (H, W, 3) uint8 RGB; the parts have its proportions.
        good: Folder of good parts.
        bad: Folder of bad parts, or None.
        on_step: Called with ``check`` and each picture.

    Raises:
        DatasetError: A folder is missing or has no picture; or a picture can't be read, shows
            another view, has another size than the first part, or is in both folders, with every
            such file.
    """
    files = {"good": _list(good), "bad": [] if bad is None else _list(bad)}
    total = sum(map(len, files.values()))
    review = _Review(golden, {pixel_hash(golden)})
    done = 0
    for kind, paths in files.items():
        for path in paths:
            review.add(kind, path)
            done += 1
            on_step("check", done, total)
    review.raise_findings()
    return Parts(
        good=tuple(review.kept["good"].values()),
        bad=tuple(review.kept["bad"].values()),
        good_sha256=_hash_all(review.kept["good"]),
        bad_sha256=_hash_all(review.kept["bad"]),
        num_repeated=total - sum(map(len, review.kept.values())),
        good_pixels=tuple(review.kept["good"]),
    )


@dataclass(slots=True)
class _Review:
    """What was found in the pictures so far; files by kind and pixels."""

    golden: ImageArray
    left_out: set[str]
    size: str | None = None
    kept: dict[str, dict[str, Path]] = field(default_factory=lambda: {"good": {}, "bad": {}})
    findings: list[str] = field(default_factory=list)

    def add(self, kind: str, path: Path) -> None:
        """Read one picture."""
        try:
            picture = open_image(path)
            check_same_aspect(self.golden.shape, picture.shape)
        except InputError as err:
            self.findings.append(f"{path}: {err}")
            return
        size = f"{picture.shape[1]}x{picture.shape[0]}"
        self.size = self.size or size
        pixels = pixel_hash(picture)
        twin = self.kept["good"].get(pixels)
        if size != self.size:
            self.findings.append(
                f"{path} has {size} pixels, the first part {self.size}; one camera has one size"
            )
        elif kind == "bad" and twin is not None:
            self.findings.append(f"{path}: the same picture is among the good parts, as {twin}")
        elif pixels not in self.left_out:
            self.kept[kind].setdefault(pixels, path)

    def raise_findings(self) -> None:
        """Raise DatasetError if a picture can't be used."""
        if not self.findings:
            return
        shown = self.findings[:_MAX_FINDINGS]
        if more := len(self.findings) - len(shown):
            shown.append(f"and {more} more")
        raise DatasetError(
            f"{len(self.findings)} pictures can't be used; repair or remove them:\n"
            + "\n".join(shown)
        )


def _choose(parts: Parts, good: Mapping[str, Path]) -> Parts:
    """``parts`` with these good ones alone, by pixels."""
    return replace(
        parts, good=tuple(good.values()), good_sha256=_hash_all(good), good_pixels=tuple(good)
    )


def _list(folder: Path) -> Sequence[Path]:
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}. Check the path")
    files = list_pictures(folder)
    if not files:
        raise DatasetError(f"{folder} has no picture ({', '.join(sorted(PICTURE_SUFFIXES))})")
    return files


def _hash_all(pixels: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(pixels)).encode()).hexdigest()
