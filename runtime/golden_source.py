"""Where an engine's golden references come from: kept in memory, a pack on disk, or read anew.

A pack that is damaged or outdated is never used: it is told of in the log and in ``notes``, and a
damaged one is written again. Only ``add`` makes packs where none were.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from adcopilot_edge.errors import PackError
from adcopilot_edge.runtime.engine import Engine
from adcopilot_edge.runtime.golden import GoldenReference, GoldenStore, pixel_hash
from adcopilot_edge.runtime.golden_key import golden_key
from adcopilot_edge.runtime.golden_pack import PackOrigin, PackRecord, read_record
from adcopilot_edge.runtime.golden_packs import GoldenPacks, StoredPack
from adcopilot_edge.runtime.golden_picture import golden_picture, open_golden
from adcopilot_edge.runtime.golden_set import GoldenSet
from adcopilot_edge.runtime.images import ImageSource
from adcopilot_edge.runtime.tiling import plan_tiles
from adcopilot_edge.runtime.timing import StageClock
from adcopilot_edge.types import ImageArray

_LOG = logging.getLogger(__name__)


class GoldenSource:
    """Gives the reference of a golden image.

    Args:
        engine: What reads an image that was never read.
        packs: Where packs lie; None for memory alone.
    """

    def __init__(self, engine: Engine, packs: GoldenPacks | None = None) -> None:
        self._engine = engine
        self._packs = packs
        self._memory = GoldenStore()
        self._notes: list[str] = []

    @property
    def num_made(self) -> int:
        """How many references were computed."""
        return self._memory.num_made

    def take_notes(self) -> tuple[str, ...]:
        """What was wrong with packs since the last call, as ``Inspection.notes``."""
        notes, self._notes = tuple(dict.fromkeys(self._notes)), []
        return notes

    def read(self, image: ImageArray, *, cache: bool = True) -> GoldenReference:
        """Return the reference of a golden image.

        Args:
            image: (H, W, 3) uint8 RGB; it is kept, not copied.
            cache: Look in memory and among the packs first, and keep in memory what is new.

        Raises:
            SessionError: A graph fails.
        """
        return self._memory.get_or_make(
            image, self._engine.id, self._engine.read_golden, find=self._find, cache=cache
        )

    def known(
        self, golden: GoldenReference | GoldenSet | ImageSource
    ) -> tuple[GoldenReference | GoldenSet, tuple[str, ...]]:
        """Return the reference of a golden, read now if it is an image, and the notes on it.

        Raises:
            InputError: The image can't be used, or another bundle read the golden.
            SessionError: A graph fails.
        """
        self.take_notes()  # those of calls before
        if isinstance(golden, GoldenReference):
            golden_picture(golden, self._engine, StageClock())
        elif isinstance(golden, GoldenSet):
            golden_picture(golden.references[0], self._engine, StageClock())
        else:
            golden = self.read(open_golden(golden))
        return golden, self.take_notes()

    def add(self, image: ImageArray, name: str | None = None) -> tuple[GoldenReference, StoredPack]:
        """Compute the reference of a golden image and store it as a pack.

        Args:
            image: (H, W, 3) uint8 RGB; it is kept, not copied.
            name: The product's; its other packs stay.

        Raises:
            PackError: There is no folder of packs, or it can't be written to.
            SessionError: A graph fails.
        """
        if self._packs is None:
            raise PackError("this inspector was opened without a folder for golden packs")
        reference = self._memory.get_or_make(
            image, self._engine.id, self._engine.read_golden, cache=False
        )
        stored = self._packs.store(reference, self._origin(reference.image_sha256, name))
        self._memory.keep(reference)
        return reference, stored

    def add_tiles(self, image: ImageArray, name: str | None = None) -> list[StoredPack]:
        """Store a pack for each tile of a golden image, as tiled inspections cut it.

        Those of a picture of this size, for this bundle's tiles: a part of another size has other
        tiles, which are read anew. Tiles with equal pixels share a pack; one whose pixels are a
        golden image with a pack of its own needs none.

        Args:
            image: (H, W, 3) uint8 RGB.
            name: The product's.

        Raises:
            PackError: There is no folder of packs, or it can't be written to.
            SessionError: A graph fails.
        """
        if self._packs is None:
            raise PackError("this inspector was opened without a folder for golden packs")
        model = self._engine.bundle.manifest.model
        height, width = image.shape[:2]
        added: dict[Path, StoredPack] = {}
        for tile in plan_tiles(
            height, width, tile_height=model.image_height, tile_width=model.image_width
        ):
            pixels = np.ascontiguousarray(tile.crop(image))
            origin = self._origin(
                pixel_hash(pixels), name, tile=(tile.x, tile.y, tile.width, tile.height)
            )
            path = self._packs.path(origin.key)
            if path in added or self._is_whole(path):
                continue
            reference = self._memory.get_or_make(
                pixels, self._engine.id, self._engine.read_golden, cache=False
            )
            added[path] = self._packs.store(reference, origin)
        return list(added.values())

    def product(self, name: str) -> tuple[GoldenReference, ...]:
        """The references of all packs of a product that this engine can use, oldest first.

        Raises:
            PackError: There is none, or one is damaged.
        """
        if self._packs is None:
            raise PackError("this inspector was opened without a folder for golden packs")
        records = [
            pack.record
            for pack in self._packs.stored()
            if pack.record is not None and pack.record.name == name and pack.record.tile is None
        ]
        usable = [record for record in records if record.key == self._key(record.golden_sha256)]
        if not usable:
            why = f"{len(records)} of another bundle, provider or release" if records else "none"
            raise PackError(
                f"no golden pack of the product {name!r} for this bundle in {self._packs.folder} "
                f"({why}). Make one with: adcopilot-edge golden add --name {name}"
            )
        usable.sort(key=lambda record: (record.created_at, record.key))
        return tuple(self._load(self._packs, record) for record in usable)

    def _load(self, packs: GoldenPacks, record: PackRecord) -> GoldenReference:
        kept = self._memory.get(self._engine.id, record.golden_sha256)
        if kept is not None:
            return kept
        reference = packs.load(record.key, bundle=self._engine.id)
        if reference is None:
            raise PackError(f"the golden pack {packs.path(record.key)} was removed meanwhile")
        self._memory.keep(reference)
        return reference

    def _find(self, image: ImageArray, image_sha256: str) -> GoldenReference | None:
        """The reference of an image from its pack; a damaged one is repaired."""
        if self._packs is None or not self._packs.folder.is_dir():
            return None
        key = self._key(image_sha256)
        try:
            reference = self._packs.load(key, bundle=self._engine.id)
        except PackError as err:
            self._note("golden_pack_damaged", str(err))
            return self._repair(self._packs, image, key)
        if reference is None and self._is_outdated(self._packs, image_sha256):
            self._note(
                "golden_pack_outdated",
                f"{self._packs.folder} has packs of this golden image, but of another bundle, "
                "release or processor. Make one with: adcopilot-edge golden add",
            )
        return reference

    def _repair(self, packs: GoldenPacks, image: ImageArray, key: str) -> GoldenReference:
        """Read an image anew and store it in the place of its damaged pack, where that works."""
        try:
            record = read_record(packs.path(key))
            name, tile = record.name, record.tile
        except PackError:
            name = tile = None
        reference = self._memory.get_or_make(
            image, self._engine.id, self._engine.read_golden, cache=False
        )
        try:
            packs.store(reference, self._origin(reference.image_sha256, name, tile=tile))
        except PackError as err:
            _LOG.warning("%s", err)
        return reference

    def _is_outdated(self, packs: GoldenPacks, image_sha256: str) -> bool:
        """Whether there are packs of an image for this provider, and none that can be used."""
        return any(
            pack.record is not None
            and pack.record.golden_sha256 == image_sha256
            and pack.record.provider == self._engine.provider
            for pack in packs.stored()
        )

    def _is_whole(self, path: Path) -> bool:
        """Whether the pack at ``path`` is of a whole golden image."""
        try:
            return path.exists() and read_record(path).tile is None
        except PackError:
            return False

    def _note(self, note: str, message: str) -> None:
        _LOG.warning("%s", message)
        self._notes.append(note)

    def _variant(self) -> str:
        return self._engine.id.removeprefix(self._engine.bundle.id)

    def _key(self, image_sha256: str) -> str:
        return golden_key(
            self._engine.bundle,
            golden_sha256=image_sha256,
            provider=self._engine.provider,
            variant=self._variant(),
        )

    def _origin(
        self,
        image_sha256: str,
        name: str | None,
        *,
        tile: tuple[int, int, int, int] | None = None,
    ) -> PackOrigin:
        return PackOrigin(
            key=self._key(image_sha256),
            provider=self._engine.provider,
            variant=self._variant(),
            name=name,
            tile=tile,
        )
