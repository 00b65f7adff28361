"""Images of parts on disk: which are kept, and which go when there are too many or they are old."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from adcopilot_edge.runtime.daemon.alarms import Alarms
from adcopilot_edge.runtime.daemon.heat_file import SUFFIX, Region, map_file, map_path
from adcopilot_edge.runtime.daemon.part import FinalRecord
from adcopilot_edge.runtime.daemon.station_file import ImageSettings
from adcopilot_edge.types import FloatArray

_LOG = logging.getLogger(__name__)
_SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"BM": ".bmp"}
_DAY_S = 86_400.0
_REMOVED_AT_ONCE = 1000


class ImageStore:
    """Keeps the bytes of parts' images as they came, a folder for each thousand parts.

    They are not flushed one by one: after a power cut the last seconds' may be missing, and the
    hash in the record tells. May be shared by threads, ``prune`` being for one.

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
        self._lock = threading.Lock()
        self._kept_bytes: int | None = None  # unknown until the first look

    def keep(
        self, record: FinalRecord, image: bytes, anomaly_map: FloatArray | None = None
    ) -> str | None:
        """Keep the image if the policy says so; where, relative to the folder, or None.

        The map, (rows, columns) float32 in 0..1, is kept beside it. What can't be written raises
        the alarm ``images``, and the part goes on without it.
        """
        if not image or not self._is_wanted(record):
            return None
        name = self.store(record.id, image)
        if name is not None and anomaly_map is not None:
            content = map_file(anomaly_map, self._region_of(record.product))
            self._write(map_path(self.folder / name), content)
        return name

    def store(self, number: int, image: bytes) -> str | None:
        """Keep the image of a part whatever the policy says, as ``keep`` does."""
        name = f"{number // 1000:06d}/{number:09d}{picture_suffix(image)}"
        if not self._write(self.folder / name, image):
            return None
        self._alarms.set("images", None)
        with self._lock:
            if self._kept_bytes is not None:
                self._kept_bytes += len(image)
        return name

    def _write(self, path: Path, content: bytes) -> bool:
        """Write a file whole or not at all, and say whether; what is in the way is an alarm."""
        try:
            path.parent.mkdir(exist_ok=True)
            draft = path.with_name(f".{path.name}.tmp")
            draft.write_bytes(content)
            draft.replace(path)
        except OSError as err:
            self._alarms.set("images", f"{path} can't be written: {err.strerror}")
            return False
        return True

    def prune(self, *, by_age: bool = True) -> list[str]:
        """Remove what is too old or too much, the oldest first; the names of what was removed.

        It looks at the oldest thousand parts or so, however many are kept, and removes a bounded
        number at a time. by_age: false while the clock is not to be trusted.
        """
        if self._kept_bytes is None:
            self._count()
        limit = self.settings.max_mb << 20
        days = self.settings.max_age_days if by_age else 0
        oldest = time.time() - days * _DAY_S if days > 0 else 0.0
        removed: list[str] = []
        for path in self._oldest_first():
            found = path.stat()
            is_too_much = limit > 0 and (self._kept_bytes or 0) > limit
            if len(removed) >= _REMOVED_AT_ONCE or not (is_too_much or found.st_mtime < oldest):
                break
            path.unlink(missing_ok=True)
            map_path(path).unlink(missing_ok=True)
            with self._lock:
                self._kept_bytes = max(0, (self._kept_bytes or 0) - found.st_size)
            removed.append(path.relative_to(self.folder).as_posix())
        return removed

    def _count(self) -> None:
        """Learn how much is kept; reads the whole folder, once."""
        found = sum(path.stat().st_size for path in self._oldest_first(removing=False))
        with self._lock:
            self._kept_bytes = found

    def _oldest_first(self, *, removing: bool = True) -> Iterator[Path]:
        """The images by their numbers; folders found empty on the way go, but for the last."""
        folders = sorted(path for path in self.folder.iterdir() if path.is_dir())
        for folder in folders:
            images = sorted(folder.iterdir(), key=lambda path: path.name.lstrip("."))
            yield from (path for path in images if not path.name.endswith(SUFFIX))
            if removing and folder != folders[-1] and not any(folder.iterdir()):
                folder.rmdir()

    def _is_wanted(self, record: FinalRecord) -> bool:
        keep = self.settings.keep
        if keep in ("all", "none"):
            return keep == "all"
        if keep == "defects" and record.is_rejected:
            return True
        return self._rng.random() < self.settings.sample_share


def picture_suffix(image: bytes) -> str:
    """How a file with these bytes is called at its end, ``.bin`` where that is not known."""
    found = (suffix for start, suffix in _SUFFIXES.items() if image.startswith(start))
    return next(found, ".bin")
