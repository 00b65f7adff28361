"""A product's goldens in memory, and the inspection of a part against them.

The region of interest is cut out of golden and part alike, and what is found is told in pixels of
the whole picture.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace

from adcopilot_edge.errors import ConfigError, InputError
from adcopilot_edge.runtime.daemon.messages import ProductSetup
from adcopilot_edge.runtime.golden import GoldenReference
from adcopilot_edge.runtime.golden_set import GoldenSet
from adcopilot_edge.runtime.images import check_same_aspect, open_image
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.stream import Event
from adcopilot_edge.types import Defect, ImageArray, Inspection

_NEAREST = "golden_nearest:"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedProduct:
    """A product whose goldens are read. references: one for each golden, cut to the region."""

    setup: ProductSetup
    references: tuple[GoldenReference, ...]

    @property
    def golden(self) -> GoldenReference | GoldenSet:
        """What a part is inspected against."""
        if len(self.references) == 1:
            return self.references[0]
        return GoldenSet(self.references, choose=self.setup.choose)

    @property
    def has_stream(self) -> bool:
        """Whether an inspection can be told while it runs: not of tiles, nor of votes."""
        return not self.setup.tile and not (
            len(self.references) > 1 and self.setup.choose == "vote"
        )

    def picture(self) -> ImageArray:
        """A golden as if it were a part, whole pictures alone; for a warm-up."""
        return open_image(self.setup.goldens[0])

    def inspect(
        self,
        inspector: Inspector,
        image: bytes | ImageArray,
        *,
        takt_ms: float | None,
        ask: str | None = None,
    ) -> Inspection:
        """Inspect a part. Raises as ``Inspector.inspect``."""
        setup = self.setup
        inspection = inspector.inspect(
            self.golden,
            self._part(image),
            task=setup.tasks or "verdict",
            ask=ask,
            tile=setup.tile,
            max_new_tokens=setup.max_new_tokens,
            threshold=setup.threshold,
            takt_ms=None if setup.tile or setup.choose == "vote" else takt_ms,
        )
        return self.finished(inspection)

    def stream(
        self, inspector: Inspector, image: bytes, *, takt_ms: float | None, ask: str | None
    ) -> Generator[Event, None, None]:
        """Inspect a part and tell what is known. Raises as ``Inspector.stream``."""
        setup = self.setup
        return inspector.stream(
            self.golden,
            self._part(image),
            task=setup.tasks or "verdict",
            ask=ask,
            max_new_tokens=setup.max_new_tokens,
            threshold=setup.threshold,
            takt_ms=takt_ms,
        )

    def finished(self, inspection: Inspection) -> Inspection:
        """The inspection in pixels of the whole picture."""
        if self.setup.roi is None:
            return inspection
        x, y = self.setup.roi[:2]
        return replace(
            inspection, defects=tuple(_moved(defect, x, y) for defect in inspection.defects)
        )

    def golden_of(self, inspection: Inspection) -> str:
        """The first digits of the hash of the golden that counted."""
        for note in inspection.notes:
            if note.startswith(_NEAREST):
                return note.removeprefix(_NEAREST)
        return self.references[0].image_sha256[:16]

    def _part(self, image: bytes | ImageArray) -> bytes | ImageArray:
        return image if self.setup.roi is None else cut(open_image(image), self.setup.roi)


def load_products(
    inspector: Inspector, setups: Mapping[str, ProductSetup]
) -> dict[str, LoadedProduct]:
    """Read the goldens of every product.

    Raises:
        ConfigError: A golden is missing or can't be used; the message names the product.
        InferenceError: A graph fails.
    """
    return {name: _load(inspector, name, setup) for name, setup in setups.items() if setup.goldens}


def load_pair(inspector: Inspector, golden: bytes) -> LoadedProduct:
    """A golden that came with its part, as a product without settings. Raises InputError."""
    try:
        picture = open_image(golden)
    except InputError as err:
        raise InputError(f"the golden: {err}") from err
    return LoadedProduct(setup=ProductSetup(goldens=()), references=(inspector.golden(picture),))


def cut(picture: ImageArray, roi: tuple[int, int, int, int]) -> ImageArray:
    """The region of a picture. Raises InputError when it reaches beyond the picture."""
    x1, y1, x2, y2 = roi
    height, width = picture.shape[:2]
    if x2 > width or y2 > height:
        raise InputError(
            f"the region of interest {list(roi)} reaches beyond the picture of {width}x{height}"
        )
    return picture[y1:y2, x1:x2]


def _load(inspector: Inspector, name: str, setup: ProductSetup) -> LoadedProduct:
    try:
        images = [open_image(path) for path in setup.goldens]
        if setup.roi is not None:
            images = [cut(image, setup.roi) for image in images]
        for image in images[1:]:
            check_same_aspect(images[0].shape, image.shape)
        references = tuple(map(inspector.golden, images))
    except InputError as err:
        raise ConfigError(f"product {name}: {err}") from err
    return LoadedProduct(setup=setup, references=references)


def _moved(defect: Defect, x: float, y: float) -> Defect:
    x1, y1, x2, y2 = defect.bbox_2d
    return replace(defect, bbox_2d=(x1 + x, y1 + y, x2 + x, y2 + y))
