"""What the pixels say about a defect, as words: place, size, contrast, shape.

Knows neither labels nor texts.
"""

from __future__ import annotations

from adcopilot_edge.training.chat_ad.contrast import contrast_word
from adcopilot_edge.training.chat_ad.mined import DefectFacts, SizeWord
from adcopilot_edge.training.chat_ad.outline import Outline
from adcopilot_edge.training.chat_ad.shape import shape_word
from adcopilot_edge.training.places import place_word
from adcopilot_edge.types import ImageArray, MaskArray

# A size's word, and the share of the image's pixels that is too much for it.
_SIZES: tuple[tuple[SizeWord, float], ...] = (("tiny", 0.001), ("small", 0.01), ("medium", 0.1))


def facts_of(
    outline: Outline, picture: ImageArray, defective: MaskArray, template: ImageArray | None
) -> DefectFacts:
    """The facts of one defect.

    Its place is that of its largest box. ``tiny`` is less than 0.1 % of the image, ``small`` less
    than 1 %, ``medium`` less than 10 %, of the pixels that are known to be the defect's, or of its
    boxes.

    Args:
        outline: Where it is.
        picture: (H, W, 3) uint8 RGB.
        defective: (H, W) bool, the pixels of all defects of the picture.
        template: The aligned normal picture, of the same shape, or None.
    """
    height, width = defective.shape
    largest = max(outline.boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
    area = outline.area / defective.size
    return DefectFacts(
        place=place_word(largest, height=height, width=width),
        area=area,
        size=size_word(area),
        contrast=contrast_word(picture, outline, defective, template),
        shape=shape_word(outline),
    )


def size_word(area: float) -> SizeWord:
    """The word for a share of the image, 0..1."""
    return next((word for word, end in _SIZES if area < end), "large")
