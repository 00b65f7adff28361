"""Tells when something in a folder may have changed; a help beside looking at it regularly."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import watchfiles

_LOG = logging.getLogger(__name__)
_STEP_MS, _DEBOUNCE_MS, _LOOK_MS = 10, 50, 500


class FolderWatch:
    """Calls ``on_change``, from a thread of its own, after changes in a folder.

    The kernel watches a folder, not its name: ``renew`` begins anew when another one has the name.
    """

    def __init__(self, folder: Path, on_change: Callable[[], None]) -> None:
        self._folder = folder
        self._on_change = on_change
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._identity: tuple[int, int] | None = None

    def renew(self) -> None:
        """Watch the folder that has the name now. Raises OSError when there is none."""
        status = self._folder.stat()
        identity = (status.st_dev, status.st_ino)
        is_watching = self._thread is not None and self._thread.is_alive()
        if is_watching and identity == self._identity:
            return
        self.stop()
        self._identity = identity
        self._over = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._over,), name=f"watch {self._folder}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._over.set()

    def _run(self, over: threading.Event) -> None:
        try:
            for _ in watchfiles.watch(
                self._folder,
                watch_filter=None,
                step=_STEP_MS,
                debounce=_DEBOUNCE_MS,
                rust_timeout=_LOOK_MS,
                stop_event=over,
                raise_interrupt=False,
                recursive=False,
            ):
                self._on_change()
        except (OSError, RuntimeError) as err:  # no watches left, or a share that has none
            _LOG.warning("%s is looked through regularly only: %s", os.fspath(self._folder), err)
            over.wait()
