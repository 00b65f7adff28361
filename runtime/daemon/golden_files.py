"""The file of the golden that a part was compared with, found by the hash in its record."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adcopilot_edge.errors import InputError
from adcopilot_edge.runtime.daemon.messages import ProductSetup
from adcopilot_edge.runtime.daemon.product_goldens import cut
from adcopilot_edge.runtime.golden import pixel_hash
from adcopilot_edge.runtime.images import PICTURE_SUFFIXES, open_image

_DIGITS = 16
_Key = tuple[Path, int, int, tuple[int, int, int, int] | None]


class GoldenFiles:
    """Looks among the goldens in use and those in the state folder. May be shared by threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._hashes: dict[_Key, str | None] = {}

    def find(self, record: Mapping[str, Any], setup: ProductSetup | None) -> Path | None:
        """The golden of a record, None where it is gone.

        A record without a golden (nothing was inspected) has the product's first one in use.
        """
        in_use = () if setup is None else setup.goldens
        wanted = record["golden_sha256"]
        if wanted is None:
            return next(iter(in_use), None)
        roi = None if setup is None else setup.roi
        return next(
            (path for path in self._candidates(in_use) if self._hash(path, roi) == wanted), None
        )

    def _candidates(self, in_use: tuple[Path, ...]) -> Iterator[Path]:
        yield from in_use
        yield from (
            path
            for path in sorted(self._folder.rglob("*"))
            if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()
        )

    def _hash(self, path: Path, roi: tuple[int, int, int, int] | None) -> str | None:
        """The first digits of the hash of what is compared; None of a file that can't be read."""
        try:
            stat = path.stat()
        except OSError:
            return None
        key = (path, stat.st_mtime_ns, stat.st_size, roi)
        with self._lock:
            if key in self._hashes:
                return self._hashes[key]
        try:
            image = open_image(path)
            found = pixel_hash(image if roi is None else cut(image, roi))[:_DIGITS]
        except InputError:
            found = None
        with self._lock:
            self._hashes[key] = found
        return found
