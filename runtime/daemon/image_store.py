"""Images of parts on disk: which are kept, and which go when there are too many or they are old."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from pathlib import Path

from adcopilot_edge.runtime.daemon.alarms import Alarms
from adcopilot_edge.runtime.daemon.heat_file import SUFFIX, Region, map_path, write_map
from adcopilot_edge.runtime.daemon.part import FinalRecord
from adcopilot_edge.runtime.daemon.station_file import ImageSettings
from adcopilot_edge.types import FloatArray

_LOG = logging.getLogger(__name__)
_SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"BM": ".bmp"}
_DAY_S = 86_400.0


class ImageStore:
    """Keeps the bytes of parts' images as they came, a folder for each thousand parts.

    region_of: what a map of a product covers, in pixels of the image; None is all of it.
    """

    def __init__(
        self,
        folder: Path,
        settings: ImageSettings,
        alarms: Alarms,
        *,
        region_of: Callable[[str], Region | None] = lambda product: None,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self._alarms = alarms
        self._region_of = region_of
        self._rng = random.Random()

    def keep(
        self, record: FinalRecord, image: bytes, anomaly_map: FloatArray | None = None
    ) -> str | None:
        """Keep the image if the policy says so; where, relative to the folder, or None.

        The map, (rows, columns) float32 in 0..1, is kept beside it. What can't be written raises
        the alarm ``images``, and the part goes on without it.
        """
        if not self._is_wanted(record):
            return None
        name = self.store(record.id, image)
        if name is not None and anomaly_map is not None:
            path = map_path(self.folder / name)
            try:
                write_map(path, anomaly_map, self._region_of(record.product))
            except OSError as err:
                self._alarms.set("images", f"{path} can't be written: {err.strerror}")
        return name

    def store(self, number: int, image: bytes) -> str | None:
        """Keep the image of a part whatever the policy says, as ``keep`` does."""
        name = f"{number // 1000:06d}/{number:09d}{_suffix(image)}"
        path = self.folder / name
        try:
            path.parent.mkdir(exist_ok=True)
            draft = path.with_name(f".{path.name}.tmp")
            draft.write_bytes(image)
            draft.replace(path)
        except OSError as err:
            self._alarms.set("images", f"{path} can't be written: {err.strerror}")
            return None
        self._alarms.set("images", None)
        return name

    def prune(self) -> list[str]:
        """Remove what is too old or too much, the oldest first; the names of what was removed."""
        found = sorted(
            (path.stat().st_mtime, path.stat().st_size, path)
            for path in self.folder.glob("*/*")
            if path.is_file() and not path.name.endswith(SUFFIX)
        )
        left = sum(size for _, size, _ in found)
        limit = self.settings.max_mb << 20
        oldest = time.time() - self.settings.max_age_days * _DAY_S
        removed = []
        for modified, size, path in found:
            is_old = self.settings.max_age_days > 0 and modified < oldest
            if not is_old and not (limit and left > limit):
                break
            path.unlink(missing_ok=True)
            map_path(path).unlink(missing_ok=True)
            left -= size
            removed.append(path.relative_to(self.folder).as_posix())
        return removed

    def _is_wanted(self, record: FinalRecord) -> bool:
        keep = self.settings.keep
        if keep in ("all", "none"):
            return keep == "all"
        if keep == "defects" and record.is_rejected:
            return True
        return self._rng.random() < self.settings.sample_share


def _suffix(image: bytes) -> str:
    found = (suffix for start, suffix in _SUFFIXES.items() if image.startswith(start))
    return next(found, ".bin")
