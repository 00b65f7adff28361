"""A small data set of drawn parts, and how tests curate it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from adcopilot_edge.training.chat_ad.fingerprint import Fingerprint
from adcopilot_edge.training.chat_ad.mined import MinedDefect, MinedPair
from adcopilot_edge.training.chat_ad.pipeline import Curated, curate_set
from adcopilot_edge.training.chat_ad.plan import CurationPlan
from adcopilot_edge.training.chat_ad.sample import BOX_MARK, ChatSample, SampleTask, Turn
from adcopilot_edge.types import BBox, ImageArray

SIZE = (64, 48)
BOX: BBox = (20.0, 10.0, 30.0, 20.0)
_NUMBERS = count()


def draw_part(seed: int) -> ImageArray:
    """(48, 64, 3): coarse blocks that no other seed has."""
    blocks = np.random.default_rng(seed).integers(60, 200, (6, 8, 3), dtype=np.uint8)
    return blocks.repeat(8, axis=0).repeat(8, axis=1)


def write_set(root: Path, categories: Iterable[str] = ("lid", "cup"), *, parts: int = 3) -> Path:
    """An MVTec-like folder: of each category some good parts and two with a black dent."""
    for number, category in enumerate(categories):
        folder = root / category
        for seed in range(parts):
            _save(folder / "train" / "good" / f"{seed}.png", draw_part(100 * number + seed))
        for seed in (50, 51):
            image = Image.fromarray(draw_part(100 * number + seed))
            mask = Image.new("L", SIZE)
            box = (20 + seed % 2 * 20, 10, 29 + seed % 2 * 20, 19)
            ImageDraw.Draw(image).rectangle(box, fill="black")
            ImageDraw.Draw(mask).rectangle(box, fill=255)
            _save(folder / "test" / "dent" / f"{seed}.png", image)
            _save(folder / "ground_truth" / "dent" / f"{seed}_mask.png", mask)
    return root


def _save(path: Path, picture: ImageArray | Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(path)


def plan_for(root: Path, **settings: Any) -> CurationPlan:
    """A plan of one source, named ``parts``."""
    return CurationPlan(**{"sources": (root,), "name": "parts", **settings})


def quiet(_step: str, _done: int, _total: int) -> None:
    """Reports to nobody."""


def curate(root: Path, out: Path, **settings: Any) -> Curated:
    """Curate one source."""
    return curate_set(plan_for(root, **settings), out, report=quiet)


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder by their paths in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def pair(name: str = "a", *defects: MinedDefect, **fields: Any) -> MinedPair:
    """A pair of ``SIZE``, normal without defects."""
    made = MinedPair(
        key=f"parts/{name}",
        source="parts",
        category="lid",
        split="train",
        query=Path(f"{name}.png"),
        template=Path("template.png"),
        query_size=SIZE,
        template_size=SIZE,
        rule="aligned",
        similarity=1.0,
        defects=defects,
    )
    return replace(made, **fields)


def dent(*boxes: BBox, label: str = "dent") -> MinedDefect:
    """A defect at ``boxes``, or at ``BOX``."""
    return MinedDefect(label=label, boxes=boxes or (BOX,))


def fingerprint(bits: int = 0, pixels: str = "") -> Fingerprint:
    """A fingerprint with these bits; pixels differ from all others unless given."""
    return Fingerprint(pixels or f"other {next(_NUMBERS)}", f"{bits:064x}")


def sample(
    number: int = 0,
    *,
    folder: Path = Path(),
    name: str = "a",
    task: SampleTask = "locate",
    is_anomaly: bool = True,
    choice: str | None = None,
) -> ChatSample:
    """A sample about the pictures ``template.png`` and ``NAME.png`` of ``folder``."""
    boxes = (BOX,) if is_anomaly else ()
    marks = boxes if task == "locate" else ()
    return ChatSample(
        key=f"parts/{name}:{task}:{number}",
        pair=f"parts/{name}",
        source="parts",
        category="lid",
        split="train",
        task=task,
        template=folder / "template.png",
        query=folder / f"{name}.png",
        query_size=SIZE,
        turns=(Turn("user", "Where?"), Turn("assistant", f"At {BOX_MARK}." if marks else "No.")),
        is_anomaly=is_anomaly,
        bboxes=marks,
        boxes=boxes,
        labels=("dent",) * len(boxes),
        choice=choice,
    )


def write_pictures(folder: Path, names: Iterable[str] = ("template", "a", "b")) -> Path:
    """Pictures for ``sample``."""
    for number, name in enumerate(names):
        _save(folder / f"{name}.png", draw_part(number))
    return folder
