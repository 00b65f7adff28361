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

    bundle: the id of the engine that read it. image: (H, W, 3) uint8 RGB as it was given.
    image_sha256: its ``pixel_hash``. features: (N, C) float32 before the merger. tokens,
    comparison_tokens: (N / 4, D) and (L, D) float32, of the golden compared with itself. prefix:
    the decoder's state behind them, at the reuse boundary. Nothing of it depends on a test image
    or a question.
    """

    bundle: str
    image: ImageArray = field(repr=False)
    image_sha256: str
    features: FloatArray = field(repr=False)
    tokens: FloatArray = field(repr=False)
    comparison_tokens: FloatArray = field(repr=False)
    prefix: GoldenPrefix = field(repr=False)

    @property
    def num_bytes(self) -> int:
        """Memory that the arrays take."""
        seen = (self.image, self.features, self.tokens, self.comparison_tokens)
        return sum(array.nbytes for array in seen) + self.prefix.state.num_bytes


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
        find: Callable[[ImageArray, str], GoldenReference | None] | None = None,
        cache: bool = True,
    ) -> GoldenReference:
        """Return the reference of a golden image.

        Args:
            image: (H, W, 3) uint8 RGB.
            bundle_id: The engine that reads it.
            make: Computes the reference; ``num_made`` counts the calls.
            find: Looks elsewhere before, by the image and its ``pixel_hash``.
            cache: Look for a kept one first, and keep a new one.
        """
        if not cache:
            self.num_made += 1
            return make(image)
        image_sha256 = pixel_hash(image)
        if (kept := self.get(bundle_id, image_sha256)) is not None:
            return kept
        found = None if find is None else find(image, image_sha256)
        if found is None:
            found = make(image)
            self.num_made += 1
        self.keep(found)
        return found

    def get(self, bundle_id: str, image_sha256: str) -> GoldenReference | None:
        """The reference that is kept of an image, which is then the one used last."""
        key = f"{bundle_id} {image_sha256}"
        if key in self._references:
            self._references.move_to_end(key)
        return self._references.get(key)

    def keep(self, reference: GoldenReference) -> None:
        """Keep a reference, as the one used last."""
        key = f"{reference.bundle} {reference.image_sha256}"
        self._references[key] = reference
        self._references.move_to_end(key)
        self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Drop those unused for longest while the limit is exceeded."""
        num_bytes = sum(reference.num_bytes for reference in self._references.values())
        while num_bytes > self._max_bytes and len(self._references) > 1:
            _, dropped = self._references.popitem(last=False)
            num_bytes -= dropped.num_bytes
