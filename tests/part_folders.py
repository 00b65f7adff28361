"""Small folders of parts, good and bad: a plate with four holes, photographed again and again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 160, 128
DEFECT = (40, 30, 70, 52)
"""Left, top, right and bottom of the dark spot of a bad part, the last two exclusive."""


def draw_part(seed: int, *, is_bad: bool = False, scale: int = 1) -> Image.Image:
    """One photograph of it, each with a noise of its own."""
    picture = Image.new("RGB", (WIDTH * scale, HEIGHT * scale), (150, 155, 160))
    pen = ImageDraw.Draw(picture)
    for x, y in ((30, 90), (80, 30), (120, 64), (130, 110)):
        box = tuple(scale * value for value in (x - 8, y - 8, x + 8, y + 8))
        pen.ellipse(box, fill=(70, 70, 80))
    if is_bad:
        left, top, right, bottom = (scale * value for value in DEFECT)
        pen.rectangle((left, top, right - 1, bottom - 1), fill=(20, 30, 25))
    noise = np.random.default_rng(seed).integers(-6, 7, (*picture.size[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def draw_mask(scale: int = 1) -> Image.Image:
    """The mask of a bad part."""
    mask = Image.new("L", (WIDTH * scale, HEIGHT * scale))
    left, top, right, bottom = (scale * value for value in DEFECT)
    mask.paste(255, (left, top, right, bottom))
    return mask


def write_plain(root: Path, *, num_good: int = 8, num_bad: int = 6, scale: int = 1) -> Path:
    """``golden/``, ``good/`` and ``bad/spot/``: nobody says where a defect is."""
    for folder in ("golden", "good", "bad/spot"):
        (root / folder).mkdir(parents=True)
    draw_part(0, scale=scale).save(root / "golden" / "golden.png")
    for seed in range(1, num_good + 1):
        draw_part(seed, scale=scale).save(root / "good" / f"good-{seed}.png")
    for seed in range(100, 100 + num_bad):
        picture = draw_part(seed, is_bad=True, scale=scale)
        picture.save(root / "bad" / "spot" / f"bad-{seed}.png")
    return root


def write_listed(
    root: Path, *, num_good: int = 8, num_bad: int = 6, scale: int = 1, with_boxes: bool = False
) -> Path:
    """The same under a list with masks, or with boxes."""
    write_plain(root, num_good=num_good, num_bad=num_bad, scale=scale)
    draw_mask(scale).save(root / "mask.png")
    lines: list[dict[str, object]] = [
        {"golden": "golden/golden.png", "test": f"good/{path.name}"}
        for path in sorted((root / "good").iterdir())
    ]
    box = [scale * value for value in DEFECT]
    place: dict[str, object] = {"boxes": [box]} if with_boxes else {"mask": "mask.png"}
    lines += [
        {
            "golden": "golden/golden.png",
            "test": f"bad/spot/{path.name}",
            "label": "spot",
            "category": "plate",
            **place,
        }
        for path in sorted((root / "bad" / "spot").iterdir())
    ]
    text = "\n".join(json.dumps(line) for line in lines) + "\n"
    (root / "pairs.jsonl").write_text(text, encoding="utf-8")
    return root


def write_mvtec(root: Path, *, num_good: int = 8, num_bad: int = 6, noise: int = 0) -> Path:
    """MVTec AD's layout with masks; no image is a golden one. noise: another one, other images."""
    for folder in ("train/good", "test/good", "test/spot", "ground_truth/spot"):
        (root / folder).mkdir(parents=True)
    for seed in range(1, num_good + 1):
        draw_part(noise + seed).save(root / "train" / "good" / f"{seed:03}.png")
    draw_part(noise + 50).save(root / "test" / "good" / "050.png")
    for seed in range(100, 100 + num_bad):
        draw_part(noise + seed, is_bad=True).save(root / "test" / "spot" / f"{seed}.png")
        draw_mask().save(root / "ground_truth" / "spot" / f"{seed}_mask.png")
    return root
