"""Which size an image of a sample gets, and the preprocessing for it. Knows no files."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace

from adcopilot_edge.runtime.preprocess import Preprocessor, smart_resize
from adcopilot_edge.training.processor import ADCopilotProcessor

_MOST_PIXELS = 1 << 40


@dataclass(frozen=True, slots=True)
class ImageRule:
    """Squares of the size of ``square``, or with limits sizes of the same aspect.

    square: the preprocessing of square images, whose constants hold for all. limits: the smallest
    and largest area in pixels that images are brought into, as Qwen2.5-VL's processor does.
    """

    square: Preprocessor
    limits: tuple[int, int] | None = None

    @property
    def side(self) -> int:
        """The side of square images in pixels."""
        return self.square.image_height

    def size(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) that an image of ``width`` by ``height`` pixels gets.

        Raises InputError for an image that is more than 200 times as long as wide.
        """
        if self.limits is None:
            return self.side, self.side
        smallest, largest = self.limits
        factor = self.square.patch_size * self.square.merge_size
        rows, columns = smart_resize(
            height, width, factor=factor, min_pixels=smallest, max_pixels=largest
        )
        return columns, rows

    def preprocessor(self, width: int, height: int) -> Preprocessor:
        """The preprocessing of an image of ``width`` by ``height`` pixels; raises as ``size``."""
        columns, rows = self.size(width, height)
        return replace(self.square, image_height=rows, image_width=columns)

    def num_cells(self, width: int, height: int) -> int:
        """Merged cells, each one token, of an image of ``width`` by ``height`` pixels."""
        columns, rows = self.size(width, height)
        factor = self.square.patch_size * self.square.merge_size
        return (rows // factor) * (columns // factor)


def image_rule(
    processor: ADCopilotProcessor, image_size: int, limits: tuple[int, int] | None
) -> ImageRule:
    """The rule by a processor's constants. image_size: the side of square images in pixels."""
    images = processor.image_processor
    square = Preprocessor(
        image_height=image_size,
        image_width=image_size,
        patch_size=images.patch_size,
        temporal_patch_size=images.temporal_patch_size,
        merge_size=images.merge_size,
        image_mean=tuple(images.image_mean),
        image_std=tuple(images.image_std),
    )
    return ImageRule(square, limits)


def taking_any_size(processor: ADCopilotProcessor) -> ADCopilotProcessor:
    """``processor`` for images that have their size already: its own limits change none of them.

    A small checkpoint's processor would bring images of any recipe to the size that it was made
    for, while the truth about them stays in pixels of the recipe's.
    """
    sized = copy(processor)
    sized.image_processor = copy(processor.image_processor)
    sized.image_processor.size = {"shortest_edge": 1, "longest_edge": _MOST_PIXELS}
    return sized
