"""A running daemon put together: journal, line, products and images; knows nothing of ways in."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from adcopilot_edge.runtime.daemon.alarms import Alarms
from adcopilot_edge.runtime.daemon.image_store import ImageStore
from adcopilot_edge.runtime.daemon.journal import Journal, interrupted_record
from adcopilot_edge.runtime.daemon.life import Life, State
from adcopilot_edge.runtime.daemon.line import Line
from adcopilot_edge.runtime.daemon.messages import ProductSetup, WorkerSetup
from adcopilot_edge.runtime.daemon.part import FinalRecord, Part
from adcopilot_edge.runtime.daemon.state_folder import StateFolder
from adcopilot_edge.runtime.daemon.station_file import ProductRecipe, StationFile
from adcopilot_edge.runtime.daemon.ticket import Ticket
from adcopilot_edge.runtime.daemon.worker import Worker
from adcopilot_edge.runtime.stream import Event

_LOG = logging.getLogger(__name__)
_CARE_S = 10.0
_DURATIONS = "start_durations_s"


class StationDaemon:
    """Everything between the ways in and the ways out.

    Raises:
        StateFolderError: The state folder can't be used, or another daemon uses it.
        JournalError: The journal is damaged.
    """

    def __init__(self, settings: StationFile) -> None:
        self.settings = settings
        self.alarms = Alarms()
        self.folder = StateFolder(settings.daemon.state)
        self.journal = Journal(
            self.folder.journal,
            on_trouble=lambda words: self.alarms.set("journal", words, stops_line=True),
        )
        self.life = Life(self.journal.fact(_DURATIONS))
        self.images = ImageStore(
            self.folder.images,
            settings.images,
            self.alarms,
            region_of=self._region_of,
        )
        self.interrupted = self._end_interrupted()
        self._listeners: list[Callable[[FinalRecord, Part], None]] = []
        self._over = threading.Event()
        daemon = settings.daemon
        self.line = Line(
            journal=self.journal,
            life=self.life,
            worker=Worker(self._worker_setup()),
            images=self.images,
            queue_size=daemon.queue_size,
            stuck_after_s=daemon.stuck_after_s,
            restarts_per_hour=daemon.restarts_per_hour,
            alarms=self.alarms,
            outputs_of=self.outputs_of,
            on_final=self._on_final,
        )
        self.life.listen(self._on_state)

    def start(self) -> None:
        """Look after the disk, and start the line; ``life`` tells when parts are taken."""
        self._care()
        threading.Thread(target=self._keep_care, name="care", daemon=True).start()
        self.line.start()

    def stop(self) -> None:
        """Wait for the line's end, write what waits, and leave the state folder."""
        self._over.set()
        self.line.join()
        self.journal.close()
        self.folder.close()

    def submit(
        self,
        image: bytes,
        *,
        source: str,
        station: str | None = None,
        product: str | None = None,
        reference: str | None = None,
        tasks: tuple[str, ...] | None = None,
        ask: str | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> Ticket:
        """Accept a part of a station, of the product it has now unless one is named.

        Raises:
            ConfigError: There is no such station or product.
            NotReadyError: No part is taken now.
            QueueFullError: As many wait as may.
        """
        at = self.settings.station(station)
        recipe = self.settings.product(product or self.product_of(at.name))
        return self.line.submit(
            Part(
                image=image,
                station=at.name,
                product=recipe.name,
                source=source,
                reference=reference,
                takt_ms=recipe.takt_ms or at.takt_ms,
                tasks=tasks,
                ask=ask,
            ),
            on_event,
        )

    def product_of(self, station: str) -> str:
        """The product that a station has now."""
        chosen = self.journal.fact(f"product:{station}")
        known = {product.name for product in self.settings.products}
        return chosen if chosen in known else self.settings.station(station).product

    def on_final(self, listener: Callable[[FinalRecord, Part], None]) -> None:
        """Call ``listener`` with every final record, in the journal's thread: be quick."""
        self._listeners.append(listener)

    def outputs_of(self, part: Part) -> Iterable[str]:
        """The names of the outputs that are told of a part."""
        return ()

    def to_json(self) -> dict[str, Any]:
        """What ``/healthz`` tells."""
        counters = self.line.counters
        return {
            **self.life.to_json(),
            "bundle": self.line.bundle,
            "engine": self.line.engine,
            "queued": self.line.queued,
            "queue_size": self.settings.daemon.queue_size,
            "alarms": [alarm.to_json() for alarm in self.alarms.all()],
            "counters": {
                "accepted": counters.accepted,
                "refused_full": counters.refused_full,
                "refused_not_ready": counters.refused_not_ready,
                "late_results": counters.late,
                "worker_restarts": counters.restarts,
                "by_verdict": dict(counters.by_verdict),
                "by_reason": dict(counters.by_reason),
                "interrupted_at_start": self.interrupted,
            },
        }

    def _end_interrupted(self) -> int:
        """End the parts that the last daemon left open; their number."""
        rows = self.journal.open_parts()
        for row in rows:
            record = interrupted_record(row, time.time())
            self.journal.finish(record, self._all_outputs()).result()
        if rows:
            _LOG.warning("%d parts were not done when the daemon ended; uncertain now", len(rows))
        return len(rows)

    def _region_of(self, product: str) -> tuple[int, int, int, int] | None:
        return next((item.roi for item in self.settings.products if item.name == product), None)

    def _all_outputs(self) -> Iterable[str]:
        return ()

    def _worker_setup(self) -> WorkerSetup:
        daemon = self.settings.daemon
        return WorkerSetup(
            bundle=daemon.bundle,
            provider=daemon.provider,
            threads=daemon.threads,
            packs=self.folder.packs,
            products={
                item.name: product_setup(item, item.goldens) for item in self.settings.products
            },
        )

    def _on_final(self, record: FinalRecord, part: Part) -> None:
        for listener in self._listeners:
            listener(record, part)

    def _on_state(self, state: State) -> None:
        _LOG.info("%s%s", state, f": {self.life.reason}" if self.life.reason else "")
        if state == "ready":
            self.journal.set_fact(_DURATIONS, dict(self.life.taken_s))

    def _keep_care(self) -> None:
        while not self._over.wait(_CARE_S):
            self._care()

    def _care(self) -> None:
        """Look at the disk, and remove images that the policy no longer keeps."""
        free_mb = shutil.disk_usage(self.folder.path).free >> 20
        least = self.settings.daemon.min_free_mb
        self.alarms.set(
            "disk",
            f"the disk with {self.folder.path} has {free_mb} MB free, and {least} MB must be"
            if free_mb < least
            else None,
            stops_line=True,
        )
        for name in self.images.prune():
            self.journal.write(_without_image(name))


def product_setup(recipe: ProductRecipe, goldens: tuple[Path, ...]) -> ProductSetup:
    """A product as the worker needs it."""
    return ProductSetup(
        goldens=goldens,
        choose=recipe.choose,
        tasks=recipe.tasks,
        threshold=recipe.threshold,
        roi=recipe.roi,
        tile=recipe.tile,
        max_new_tokens=recipe.max_new_tokens,
    )


def _without_image(name: str) -> Callable[[Any], None]:
    def change(connection: Any) -> None:
        connection.execute("UPDATE parts SET image_file = NULL WHERE image_file = ?", (name,))

    return change
