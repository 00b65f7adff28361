"""The pictures that belong to a record: the part, its golden, the heat map over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adcopilot_edge.runtime.daemon.golden_files import GoldenFiles
from adcopilot_edge.runtime.daemon.heat_file import map_path
from adcopilot_edge.runtime.daemon.recent_images import RecentImages
from adcopilot_edge.runtime.daemon.station import StationDaemon


class RecordPictures:
    """Finds pictures on disk, and those of the last parts in memory. Records are as JSON."""

    def __init__(self, daemon: StationDaemon) -> None:
        self.recent = RecentImages()
        self._daemon = daemon
        self._goldens = GoldenFiles(daemon.folder.goldens)

    def image_file(self, record: dict[str, Any]) -> Path | None:
        """The kept file of the part, None where none was kept or it is gone."""
        name = record["image_file"]
        path = None if name is None else self._daemon.images.folder / name
        return path if path is not None and path.is_file() else None

    def image(self, record: dict[str, Any]) -> bytes | None:
        """The image of the part as it came, from the disk or from memory."""
        path = self.image_file(record)
        return self.recent.get(record["id"]) if path is None else path.read_bytes()

    def map_file(self, record: dict[str, Any]) -> Path | None:
        """The file of the anomaly map, None without one."""
        image = self.image_file(record)
        path = None if image is None else map_path(image)
        return path if path is not None and path.is_file() else None

    def golden(self, record: dict[str, Any]) -> Path | None:
        """The golden that the part was compared with, None where it is gone."""
        return self._goldens.find(record, self._daemon.worker.setup.products.get(record["product"]))

    def told(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record with what there is to see of it."""
        is_kept = self.image_file(record) is not None
        return {
            **record,
            "has_image": is_kept or self.recent.get(record["id"]) is not None,
            "has_map": self.map_file(record) is not None,
        }
