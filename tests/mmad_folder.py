"""A folder laid out as the MMAD benchmark is published, with generated pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (56, 84)  # rows and columns of a picture, those of the toy bundle
DEFECT = (30, 20, 50, 34)  # x1, y1, x2, y2 on every abnormal picture

GOOD = "DS-MVTec/bottle/image/good/000.png"
BAD = "DS-MVTec/bottle/image/broken_large/000.png"
LOCO = "MVTec-LOCO/box/test/logical_anomalies/000.png"
PILL = "DS-MVTec/pill/image/good/000.png"
TEMPLATE = "MVTec-AD/bottle/train/good/000.png"
OTHER_TEMPLATE = "MVTec-AD/bottle/train/good/001.png"
MASK = "DS-MVTec/bottle/rbg_mask/broken_large/000_rbg_mask.png"
LOCO_MASK = "MVTec-LOCO/box/ground_truth/logical_anomalies/000.png"


def question(task: str, answer: str, *options: str, text: str = "Is there a defect?") -> Any:
    """One entry of a conversation."""
    return {
        "Question": text,
        "Answer": answer,
        "Options": dict(zip("ABCDE", options, strict=False)),
        "type": task,
        "annotation": True,
    }


def entry(*conversation: Any, mask: str = "") -> Any:
    """One value of the container."""
    return {
        "image_path": "image/x.png",
        "conversation": list(conversation),
        "mask_path": mask,
        "similar_templates": [OTHER_TEMPLATE, TEMPLATE],
        "random_templates": [TEMPLATE, OTHER_TEMPLATE],
    }


def container() -> dict[str, Any]:
    """Four images; in two of the three that count Yes comes first, in one it comes second."""
    return {
        GOOD: entry(
            question("Anomaly Detection", "B", "Yes.", "No."),
            question("Object Structure", "A", "Glass.", "Tin.", "Wood."),
        ),
        BAD: entry(
            question("Anomaly Detection", "A", "Yes.", "No."),
            question("Defect Classification", "C", "Scratch.", "Dent.", "Crack.", "Hole.", "Dust."),
            question("Object Details", "B", "A cork.", "A neck.", "A handle.", "A label."),
            mask="rbg_mask/broken_large/000_rbg_mask.png",
        ),
        LOCO: entry(
            question("Anomaly Detection", "B", "No.", "Yes."),
            mask="ground_truth/logical_anomalies/000.png",
        ),
        PILL: entry(question("Anomaly Detection", "B", "Yes.", "No.")),
    }


def picture(*, is_bad: bool) -> Image.Image:
    """Coarse blocks, the same in every picture, with a white defect or without."""
    rng = np.random.default_rng(3)
    blocks = rng.integers(0, 160, (4, 6, 3), dtype=np.uint8)
    pixels = blocks.repeat(14, axis=0).repeat(14, axis=1)
    if is_bad:
        x1, y1, x2, y2 = DEFECT
        pixels[y1:y2, x1:x2] = 255
    return Image.fromarray(pixels)


def mask(colour: tuple[int, int, int]) -> Image.Image:
    """The defect in a colour on black."""
    pixels = np.zeros((*SIZE, 3), dtype=np.uint8)
    x1, y1, x2, y2 = DEFECT
    pixels[y1:y2, x1:x2] = colour
    return Image.fromarray(pixels)


def write_mmad(root: Path) -> Path:
    """Write the folder and return it."""
    pictures = {
        GOOD: picture(is_bad=False),
        BAD: picture(is_bad=True),
        LOCO: picture(is_bad=True),
        PILL: picture(is_bad=False),
        TEMPLATE: picture(is_bad=False),
        OTHER_TEMPLATE: picture(is_bad=False),
        MASK: mask((0, 0, 128)),
        LOCO_MASK: mask((1, 1, 1)),
    }
    for name, image in pictures.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    (root / "mmad.json").write_text(json.dumps(container()), encoding="utf-8")
    return root
