"""The output ``file``: each record as a JSON file, with its image beside it, a folder for each day.

``FOLDER/2026-01-31/000000123.json`` and ``000000123.jpg``. A file is there whole or not at all.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.errors import OutputError
from adcopilot_edge.runtime.daemon.outputs.message import Message
from adcopilot_edge.runtime.daemon.outputs.settings import FileOutput

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_OURS = re.compile(r"\.?\d{9,}\.\w+(\.[0-9a-f]{16})?(\.tmp)?")
_PRUNE_S = 3600.0

# Where the record of a part goes in place of the folder of its day, or None.
Place = Callable[[Message], Path | None]


class FileChannel:
    """A folder of records; a ``Channel``.

    images: folder of the images that are kept. place: for parts whose record belongs elsewhere, as
    beside the original.
    """

    def __init__(
        self, settings: FileOutput, images: Path, *, place: Place = lambda message: None
    ) -> None:
        self._settings = settings
        self._images = images
        self._place = place
        self._prune_at = 0.0

    def open(self) -> None:
        """See ``Channel.open``; removes the folders of days that are too old."""
        try:
            self._settings.folder.mkdir(parents=True, exist_ok=True)
            if self._settings.max_age_days and time.monotonic() >= self._prune_at:
                self._prune_at = time.monotonic() + _PRUNE_S
                self._prune()
        except OSError as err:
            raise OutputError(
                f"{self._settings.folder} can't be written: {err.strerror or err}"
            ) from err

    def send(self, message: Message) -> None:
        """See ``Channel.send``; the file is on the disk when this returns."""
        path = self._place(message) or self._by_day(message)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if self._settings.images:
                self._put_image(message, path)
            with atomic_write(path) as file:
                text = json.dumps(message.to_json(), ensure_ascii=False, indent=2)
                file.write(text.encode() + b"\n")
        except OSError as err:
            raise OutputError(f"{path} can't be written: {err.strerror or err}") from err

    def cancel(self) -> None:
        """See ``Channel.cancel``."""

    def close(self) -> None:
        """See ``Channel.close``."""

    def _by_day(self, message: Message) -> Path:
        day = str(message.record["received_at"])[:10]
        return self._settings.folder / day / f"{message.number:09d}.json"

    def _put_image(self, message: Message, path: Path) -> None:
        """Put the image beside the record, without a second copy of its bytes where that goes."""
        name = message.record.get("image_file")
        if name is None:
            return
        image = self._images / name
        target = path.with_suffix(image.suffix)
        draft = target.with_name(f".{target.name}.tmp")
        draft.unlink(missing_ok=True)
        try:
            os.link(image, draft)
        except FileNotFoundError:  # the policy for images has removed it since
            return
        except OSError:  # another file system, or one without links
            with suppress(FileNotFoundError):
                shutil.copyfile(image, draft)
        if draft.exists():
            draft.replace(target)

    def _prune(self) -> None:
        """Remove days that are too old; of what is in them, only what this output wrote."""
        oldest = datetime.now(timezone.utc).date() - timedelta(days=self._settings.max_age_days)
        for folder in self._settings.folder.iterdir():
            if not _DAY.fullmatch(folder.name) or folder.name >= oldest.isoformat():
                continue
            for path in folder.iterdir():
                if _OURS.fullmatch(path.name):
                    path.unlink()
            with suppress(OSError):  # something else is in it
                folder.rmdir()
