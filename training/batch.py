"""A sample, ready to batch, and a batch: what the model and its losses read."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from adcopilot_edge.training.packing import Packed, PackedBatch
from adcopilot_edge.types import FloatArray, IntArray, MaskArray


@dataclass(frozen=True, slots=True)
class Sample:
    """Images and text, ready to batch.

    patches: (sum of N, values) of the golden image, then the test image. grid: (images, 3), the
    patches of each along time, height and width. mask: (H, W) of the test image as the model sees
    it, None where nobody knows the place of its defects. types: (H, W) numbers of the model's types
    of defect, -1 elsewhere, or None where the model or the source has none.
    """

    patches: FloatArray
    grid: IntArray
    mask: MaskArray | None
    packed: Packed
    types: IntArray | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """B samples. patches (sum of N, values), grid (images, 3), both in the order of the rows.

    images_per_sample: B counts. targets: of each sample's last image (N, cells) in 0..1, or None
    where nobody knows. types: the number of each patch's type of defect (N,), -1 for none, or None.
    text: the rows, with one sample each unless they are packed.
    """

    patches: Tensor
    grid: Tensor
    images_per_sample: tuple[int, ...]
    targets: tuple[Tensor | None, ...]
    types: tuple[Tensor | None, ...]
    text: PackedBatch
