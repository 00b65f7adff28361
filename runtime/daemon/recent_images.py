"""The images of the last parts in memory, so that people see also what the policy does not keep."""

from __future__ import annotations

import threading
from collections import OrderedDict

from adcopilot_edge.runtime.daemon.part import FinalRecord, Part

_MAX_PARTS = 50
_MAX_BYTES = 64 << 20


class RecentImages:
    """The newest images, as many as fit. May be shared by threads."""

    def __init__(self, *, max_parts: int = _MAX_PARTS, max_bytes: int = _MAX_BYTES) -> None:
        self._max_parts = max_parts
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._images: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0

    def take(self, record: FinalRecord, part: Part) -> None:
        """Hold the image of a part; the oldest make room."""
        with self._lock:
            self._images[record.id] = part.image
            self._bytes += len(part.image)
            while len(self._images) > self._max_parts or self._bytes > self._max_bytes:
                _, gone = self._images.popitem(last=False)
                self._bytes -= len(gone)

    def get(self, number: int) -> bytes | None:
        """The image of a part, None when it is gone."""
        with self._lock:
            return self._images.get(number)
