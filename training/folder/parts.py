"""The parts of a user's folder: read by any known layout, without copies, some of them held out.

The split goes by the pixels of a part alone: the same file is on the same side in every run, copies
of a picture are on one side, and files that are added move no other. Pictures that show one part
twice without being equal are not known to belong together. Knows nothing of pairs.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adcopilot_edge.errors import InputError, TooFewSamplesError
from adcopilot_edge.runtime.images import check_same_aspect, open_image
from adcopilot_edge.training.chat_ad.readers import find_reader
from adcopilot_edge.training.chat_ad.source import Finding, SourceImage
from adcopilot_edge.training.folder.settings import FolderSettings

GOOD = "good"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A picture of a part. golden: None where the good ones that train take turns.

    sha256: of its pixels and their shape. shape: (H, W).
    """

    image: SourceImage
    sha256: str
    shape: tuple[int, int]

    @property
    def golden(self) -> Path | None:
        """The golden image that the folder names for it."""
        return self.image.template

    @property
    def label(self) -> str:
        """The name of its defects, or ``good``."""
        return ", ".join(sorted({defect.label for defect in self.image.defects})) or GOOD


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """What a folder holds.

    layout: the name of the reader. train, held_out: parts in the order of the layout. findings:
    what can't be used or was left out.
    """

    root: Path
    layout: str
    settings: FolderSettings
    train: tuple[Part, ...]
    held_out: tuple[Part, ...]
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """The split and what was left out, for the log of a run."""
        return {
            "folder": str(self.root),
            "layout": self.layout,
            "holdout": self.settings.holdout,
            "split_by": "sha256 of the pixels",
            "train": dict(sorted(Counter(part.label for part in self.train).items())),
            "held_out": dict(sorted(Counter(part.label for part in self.held_out).items())),
            "left_out": [f"{self._place(item.path)} {item.what}" for item in self.findings],
        }

    def _place(self, path: Path) -> Path:
        return path.relative_to(self.root) if path.is_relative_to(self.root) else path


def open_folder(
    root: Path,
    settings: FolderSettings | None = None,
    *,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Folder:
    """Read the parts of ``root`` and split them; every picture is decoded once.

    Args:
        root: A folder of golden, good and bad parts, or of any layout that Chat-AD's readers know.
        settings: Chosen by the user.
        report: Called with how many pictures were read, and how many there are.

    Raises:
        DatasetError: No reader knows the folder, or its layout is broken.
        TooFewSamplesError: No good part is left to train with.
    """
    chosen = settings or FolderSettings()
    reader = find_reader(root, chosen.layout)
    surveyed = reader.survey(root, source=root.name)
    # Where there is nothing, ``read`` says why.
    images = list(surveyed.images or reader.read(root, source=root.name))
    findings = list(surveyed.findings)
    parts: list[Part] = []
    goldens: dict[Path, Part | None] = {}
    for done, image in enumerate(images, start=1):
        part = _read(image, findings)
        if part is not None and _suits(part, goldens, findings):
            parts.append(part)
        report(done, len(images))
    parts = _comparable(_without_copies(parts, findings), chosen.holdout, findings)
    train = tuple(part for part in parts if not is_held_out(part.sha256, chosen.holdout))
    held_out = tuple(part for part in parts if is_held_out(part.sha256, chosen.holdout))
    _check_enough(root, train, len(parts), findings)
    return Folder(
        root=root,
        layout=reader.name,
        settings=chosen,
        train=train,
        held_out=held_out,
        findings=tuple({finding.path: finding for finding in reversed(findings)}.values())[::-1],
    )


def others_like(part: Part, good: Sequence[Part]) -> list[Part]:
    """The parts in ``good`` of the same category as ``part``, but for that very one."""
    return [
        item
        for item in good
        if item.sha256 != part.sha256 and item.image.category == part.image.category
    ]


def is_held_out(sha256: str, share: float) -> bool:
    """Whether a picture never trains: its hash, as a number in 0..1, is below ``share``."""
    return int(sha256[:12], 16) < share * 16**12


def _read(image: SourceImage, findings: list[Finding]) -> Part | None:
    """The part with its hash; None, and a finding, where it can't be read."""
    try:
        pixels = open_image(image.path)
    except InputError as err:
        findings.append(Finding(image.path, str(err)))
        return None
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(pixels.tobytes())
    return Part(image=image, sha256=digest.hexdigest(), shape=(pixels.shape[0], pixels.shape[1]))


def _suits(part: Part, goldens: dict[Path, Part | None], findings: list[Finding]) -> bool:
    """Whether the part can be compared with its golden image; if not, a finding."""
    path = part.golden
    if path is None:
        return True
    if path not in goldens:
        goldens[path] = _read(SourceImage(path=path, source="", category="", split=""), findings)
    golden = goldens[path]
    if golden is None:
        return False
    if golden.sha256 == part.sha256:
        findings.append(Finding(part.image.path, f"has the pixels of its golden image {path.name}"))
        return False
    try:
        check_same_aspect(golden.shape, part.shape)
    except InputError as err:
        findings.append(Finding(part.image.path, str(err)))
        return False
    return True


def _without_copies(parts: Sequence[Part], findings: list[Finding]) -> list[Part]:
    """The first of each set of equal pictures; none where some are good and others bad."""
    groups: dict[tuple[str, Path | None], list[Part]] = {}
    for part in parts:
        groups.setdefault((part.sha256, part.golden), []).append(part)
    kept = []
    for group in groups.values():
        first = group[0]
        if len({part.image.is_normal for part in group}) > 1:
            names = " and ".join(part.image.path.name for part in group)
            findings.append(Finding(first.image.path, f"{names} are equal, one good and one bad"))
            continue
        kept.append(first)
        findings += [
            Finding(part.image.path, f"is a copy of {first.image.path.name}") for part in group[1:]
        ]
    return kept


def _comparable(parts: Sequence[Part], holdout: float, findings: list[Finding]) -> list[Part]:
    """The parts with a golden image, and those of a category of which two good parts train."""
    pictures = {
        (part.image.category, part.sha256)
        for part in parts
        if part.image.is_normal and not is_held_out(part.sha256, holdout)
    }
    good = Counter(category for category, _ in pictures)
    kept = []
    for part in parts:
        category = part.image.category
        if part.golden is not None or good[category] > 1:
            kept.append(part)
            continue
        findings.append(
            Finding(
                part.image.path,
                f"has no golden image, and {good[category]} good parts of {category} train where 2 "
                "are needed to be compared with each other",
            )
        )
    return kept


def _check_enough(
    root: Path, train: Sequence[Part], num_parts: int, findings: Sequence[Finding]
) -> None:
    good = [part for part in train if part.image.is_normal]
    needed = 1 if all(part.golden is not None for part in train) else 2
    if len(good) < needed:
        reasons = "".join(f"; {item.path.name} {item.what}" for item in findings[:5])
        raise TooFewSamplesError(
            f"{root} has {len(good)} good parts to train with, at least {needed} are needed "
            f"({num_parts} parts in all, {len(train)} of them not held out{reasons}). Add good "
            "parts, or hold out a smaller share"
        )
