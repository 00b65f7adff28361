"""The golden images of every product on disk, and in the journal which of them are in use.

A file lies in the product's folder under the hash of its bytes, so that what a record tells of is
found again, whatever became of the file that was listed or uploaded.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.errors import AspectMismatchError, ConfigError, InputError, StateFolderError
from adcopilot_edge.runtime.daemon.golden_revisions import STATION_FILE, Shelf, StoredGolden
from adcopilot_edge.runtime.daemon.image_store import picture_suffix
from adcopilot_edge.runtime.daemon.journal import Journal
from adcopilot_edge.runtime.daemon.station_file import ProductRecipe
from adcopilot_edge.runtime.images import check_same_aspect, open_image

_FACT = "goldens:"


class GoldenShelf:
    """The goldens of all products in one state folder. folder: has a folder for each product."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.folder = folder
        self._journal = journal

    def read(self, product: str) -> Shelf:
        """What is known of a product's goldens; an empty shelf where nothing is."""
        return Shelf.model_validate(self._journal.fact(_FACT + product) or {})

    def following(self, recipe: ProductRecipe) -> Shelf:
        """The product's shelf with what the station file lists; nothing is noted yet.

        Raises ConfigError that names the product and the file that can't be used.
        """
        listed = tuple(self._listed(recipe.name, path) for path in recipe.goldens)
        return self.read(recipe.name).following(listed, time.time())

    def place(self, product: str, image: bytes, *, who: str, origin: str) -> StoredGolden:
        """Put an image on the shelf; nothing is noted yet.

        Raises:
            InputError: It is no image, or of other proportions than the goldens in use.
            StateFolderError: It can't be written.
        """
        picture = open_image(image)
        height, width = picture.shape[:2]
        shelf = self.read(product)
        if shelf.revisions and shelf.current.goldens:
            golden = shelf.golden(shelf.current.goldens[0])
            _check_proportions(golden, width, height)
        return self._store(product, image, (height, width), who=who, origin=origin)

    def path(self, product: str, golden: StoredGolden) -> Path:
        """Where a golden lies."""
        return self.folder / product / golden.file

    def paths(self, product: str, shelf: Shelf) -> tuple[Path, ...]:
        """Where the goldens in use lie."""
        return tuple(self.path(product, shelf.golden(name)) for name in shelf.current.goldens)

    def facts(self, shelves: Mapping[str, Shelf]) -> dict[str, Any]:
        """The shelves of some products as the journal keeps them."""
        return {_FACT + name: shelf.model_dump(mode="json") for name, shelf in shelves.items()}

    def keep(self, shelves: Mapping[str, Shelf], who: str, action: str, **details: Any) -> None:
        """Note the shelves of some products and who did what, in one commit.

        Raises JournalError when it is not on the disk.
        """
        self._journal.decide(who, action, self.facts(shelves), **details).result()

    def drop(self, product: str, golden: StoredGolden) -> None:
        """Remove the file of a golden that is on no shelf any more."""
        self.path(product, golden).unlink(missing_ok=True)

    def _listed(self, product: str, path: Path) -> StoredGolden:
        try:
            image = path.read_bytes()
        except OSError as err:
            raise ConfigError(
                f"product {product}: its golden {path} can't be read: {err.strerror}"
            ) from err
        try:
            picture = open_image(image)
        except InputError as err:
            raise ConfigError(f"product {product}: its golden {path} can't be used: {err}") from err
        return self._store(product, image, picture.shape[:2], who=STATION_FILE, origin=STATION_FILE)

    def _store(
        self, product: str, image: bytes, size: tuple[int, ...], *, who: str, origin: str
    ) -> StoredGolden:
        sha256 = hashlib.sha256(image).hexdigest()
        path = self.folder / product / f"{sha256}{picture_suffix(image)}"
        try:
            path.parent.mkdir(exist_ok=True)
            if not path.is_file() or path.read_bytes() != image:
                with atomic_write(path) as file:
                    file.write(image)
        except OSError as err:
            raise StateFolderError(f"{path} can't be written: {err.strerror}") from err
        return StoredGolden(
            sha256=sha256,
            file=path.name,
            width=size[1],
            height=size[0],
            added_at=time.time(),
            added_by=who,
            origin=origin,
        )


def _check_proportions(golden: StoredGolden, width: int, height: int) -> None:
    """Raise AspectMismatchError unless a new golden has those of one that is in use."""
    try:
        check_same_aspect((golden.height, golden.width), (height, width))
    except AspectMismatchError as err:
        raise AspectMismatchError(
            f"the new golden is {width}x{height} pixels and those in use are "
            f"{golden.width}x{golden.height}: their proportions differ. Take it with the same "
            "camera settings, or crop it to the same view"
        ) from err
