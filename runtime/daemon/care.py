"""What is looked after beside the parts: the disk, the clock, old images and old records."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable

from adcopilot_edge.errors import JournalError
from adcopilot_edge.runtime.daemon.alarms import Alarms
from adcopilot_edge.runtime.daemon.clock_watch import ClockWatch
from adcopilot_edge.runtime.daemon.image_store import ImageStore
from adcopilot_edge.runtime.daemon.journal import Journal
from adcopilot_edge.runtime.daemon.journal_file import unchecked_damage
from adcopilot_edge.runtime.daemon.state_folder import StateFolder
from adcopilot_edge.runtime.daemon.station_file import DaemonSettings

_LOG = logging.getLogger(__name__)
_CARE_S = 10.0
_DAY_S = 86_400.0


class Care:
    """Looks after the state folder, and raises the alarms ``disk``, ``clock`` and ``care``."""

    def __init__(
        self,
        *,
        folder: StateFolder,
        settings: DaemonSettings,
        journal: Journal,
        images: ImageStore,
        alarms: Alarms,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._journal = journal
        self._images = images
        self._alarms = alarms
        self._clock = ClockWatch(journal.newest_at_start)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="care", daemon=True)

    def start(self) -> None:
        """Look at the disk and the clock now, and at everything from time to time."""
        self._guard(self._look_at_disk)
        self._guard(self._look_at_clock)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def look(self) -> None:
        """Look at everything once. What goes wrong meanwhile is the alarm ``care``."""
        wrong = [
            words
            for task in (self._look_at_disk, self._look_at_clock, self._prune)
            if (words := self._guard(task)) is not None
        ]
        self._alarms.set("care", "; ".join(wrong) or None)

    def _run(self) -> None:
        self._guard(self._check_journal)
        while not self._over.is_set():
            self.look()
            self._over.wait(_CARE_S)

    def _guard(self, task: Callable[[], None]) -> str | None:
        try:
            task()
        except Exception as err:  # the thread must go on
            _LOG.exception("care")
            return f"{type(err).__name__}: {err}"
        return None

    def _check_journal(self) -> None:
        path = self._journal.path
        if (wrong := unchecked_damage(path)) is not None:
            words = f"{path} is damaged: {wrong}. Restore it from a copy, or move it away"
            self._alarms.set("journal-damage", words, stops_line=True)

    def _look_at_disk(self) -> None:
        free_mb = shutil.disk_usage(self._folder.path).free >> 20
        least = self._settings.min_free_mb
        self._alarms.set(
            "disk",
            f"the disk with {self._folder.path} has {free_mb} MB free, and {least} MB must be"
            if free_mb < least
            else None,
            stops_line=True,
        )

    def _look_at_clock(self) -> None:
        self._alarms.set("clock", self._clock.look())

    def _prune(self) -> None:
        """Remove images and records that the settings no longer keep."""
        is_clock_right = all(alarm.name != "clock" for alarm in self._alarms.all())
        if removed := self._images.prune(by_age=is_clock_right):
            self._journal.forget_images(removed).add_done_callback(_note)
        days = self._settings.keep_records_days
        if days > 0 and is_clock_right:
            before = time.time() - days * _DAY_S
            self._journal.forget_before(before).add_done_callback(_note)


def _note(written: object) -> None:
    error = written.exception()  # type: ignore[attr-defined]
    if error is not None and not isinstance(error, JournalError):  # the journal has its own alarm
        _LOG.error("care: %s", error)
