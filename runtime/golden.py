"""What is constant for one golden image, computed once and kept in memory."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from adcopilot_edge.runtime.dialogue import GoldenPrefix
from adcopilot_edge.types import FloatArray, ImageArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GoldenReference:
    """A golden image that a bundle has read; good for any number of inspections.

    image: (H, W, 3) uint8 RGB as it was given. image_sha256: its ``pixel_hash``. features: (N, C)
    float32 before the merger. prefix: the decoder's state at the reuse boundary. Nothing of it
    depends on a test image or a question.
    """

    bundle: str
    image: ImageArray = field(repr=False)
    image_sha256: str
    features: FloatArray = field(repr=False)
    prefix: GoldenPrefix = field(repr=False)

    @property
    def num_bytes(self) -> int:
        """Memory that the arrays take."""
        return self.image.nbytes + self.features.nbytes + self.prefix.state.num_bytes


def pixel_hash(image: ImageArray) -> str:
    """The identity of a picture, whatever file it came from: SHA-256 over shape and pixels."""
    digest = hashlib.sha256(f"{image.shape} ".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


class GoldenStore:
    """The golden references used last, within a limit of memory.

    A limit in bytes, not in pieces: a tiled picture has dozens of small references, a large model
    a few large ones. The newest stays even if it is larger than the limit.
    """

    def __init__(self, max_bytes: int = 256 << 20) -> None:
        self.num_made = 0
        self._max_bytes = max_bytes
        self._references: OrderedDict[str, GoldenReference] = OrderedDict()

    def get_or_make(
        self,
        image: ImageArray,
        bundle_id: str,
        make: Callable[[ImageArray], GoldenReference],
        *,
        cache: bool = True,
    ) -> GoldenReference:
        """Return the reference of a golden image.

        Args:
            image: (H, W, 3) uint8 RGB.
            bundle_id: The bundle that reads it.
            make: Computes the reference; ``num_made`` counts the calls.
            cache: Look for a kept one first, and keep a new one.
        """
        key = f"{bundle_id} {pixel_hash(image)}"
        if cache and key in self._references:
            self._references.move_to_end(key)
            return self._references[key]
        reference = make(image)
        self.num_made += 1
        if cache:
            self._references[key] = reference
            self._drop_oldest()
        return reference

    def _drop_oldest(self) -> None:
        """Drop those unused for longest while the limit is exceeded."""
        num_bytes = sum(reference.num_bytes for reference in self._references.values())
        while num_bytes > self._max_bytes and len(self._references) > 1:
            _, dropped = self._references.popitem(last=False)
            num_bytes -= dropped.num_bytes
