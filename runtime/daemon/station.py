"""A running daemon put together: journal, line, products and images; knows nothing of ways in."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from adcopilot_edge.errors import EdgeError, JournalError
from adcopilot_edge.runtime.daemon.alarms import Alarms
from adcopilot_edge.runtime.daemon.care import Care
from adcopilot_edge.runtime.daemon.golden_shelf import GoldenShelf
from adcopilot_edge.runtime.daemon.image_store import ImageStore
from adcopilot_edge.runtime.daemon.journal import Journal, interrupted_record
from adcopilot_edge.runtime.daemon.life import Life, State
from adcopilot_edge.runtime.daemon.line import Line
from adcopilot_edge.runtime.daemon.messages import WorkerSetup
from adcopilot_edge.runtime.daemon.outputs.signals import Probe
from adcopilot_edge.runtime.daemon.outputs.ways_out import Outputs
from adcopilot_edge.runtime.daemon.part import FinalRecord, Part, Reason
from adcopilot_edge.runtime.daemon.product_changes import ProductChanges, Setups, place_listed
from adcopilot_edge.runtime.daemon.shadow import open_shadow
from adcopilot_edge.runtime.daemon.state_folder import StateFolder
from adcopilot_edge.runtime.daemon.station_file import PAIR, StationFile
from adcopilot_edge.runtime.daemon.ticket import Ticket
from adcopilot_edge.runtime.daemon.worker import Worker, WorkerHandle
from adcopilot_edge.runtime.stream import Event

_LOG = logging.getLogger(__name__)
_DURATIONS = "start_durations_s"
BUNDLE_FACT = "bundle_folder"


class StationDaemon:
    """Everything between the ways in and the ways out.

    open_worker: makes what inspects. path: the station file, to read it again; None where the
    settings come from elsewhere.

    Raises:
        StateFolderError: The state folder can't be used, or another daemon uses it.
        JournalError: The journal is damaged.
        ConfigError: A golden of the station file can't be used.
    """

    def __init__(
        self,
        settings: StationFile,
        open_worker: Callable[[WorkerSetup], WorkerHandle] = Worker,
        path: Path | None = None,
    ) -> None:
        self._settings = settings
        self.path = path
        self.alarms = Alarms()
        self.folder = StateFolder(settings.daemon.state)
        try:
            self.journal = Journal(
                self.folder.journal,
                on_trouble=lambda words: self.alarms.set("journal", words, stops_line=True),
            )
        except JournalError:
            self.folder.close()
            raise
        self.life = Life(self.journal.fact(_DURATIONS))
        self.images = ImageStore(
            self.folder.images, settings.images, self.alarms, region_of=self._region_of
        )
        self.care = Care(
            folder=self.folder,
            settings=settings.daemon,
            journal=self.journal,
            images=self.images,
            alarms=self.alarms,
        )
        shelf = GoldenShelf(self.folder.goldens, self.journal)
        setup = self._worker_setup(shelf)
        self.outputs = Outputs(
            settings, self.journal, self.alarms, images=self.folder.images, probe=self._probe
        )
        self.interrupted = self._end_interrupted()
        self._listeners: list[Callable[[FinalRecord, Part], None]] = [self.outputs.on_final]
        self._told: dict[str, Callable[[], Any]] = {}
        daemon = settings.daemon
        self.worker = open_worker(setup)
        self.line = Line(
            journal=self.journal,
            life=self.life,
            worker=self.worker,
            images=self.images,
            queue_size=daemon.queue_size,
            stuck_after_s=daemon.stuck_after_s,
            restarts_per_hour=daemon.restarts_per_hour,
            alarms=self.alarms,
            outputs_of=self.outputs_of,
            on_final=self._on_final,
        )
        self.products = ProductChanges(
            shelf=shelf,
            journal=self.journal,
            line=self.line,
            life=self.life,
            settings=lambda: self._settings,
            images=self.folder.images,
            on_change=self._on_products,
        )
        self.shadow = open_shadow(
            settings, setup, open_worker, self.line, self.journal, self.alarms
        )
        if self.shadow is not None:
            self.on_final(self.shadow.offer)
        self.life.listen(self._on_state)

    @property
    def settings(self) -> StationFile:
        """The station file in use."""
        return self._settings

    def use_settings(self, settings: StationFile) -> None:
        """Go by another station file: its stations, products and images, from the next part on."""
        self._settings = settings
        self.images.settings = settings.images
        self.outputs.use_products(settings)

    def start(self) -> None:
        """Look after the disk, and start the line; ``life`` tells when parts are taken."""
        self.care.start()
        self.outputs.start()
        self.line.start()

    def stop(self) -> None:
        """Wait for the line's end, write what waits, and leave the state folder."""
        self.line.join()
        if self.shadow is not None:
            self.shadow.stop()
        self.outputs.stop()
        self.care.stop()
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
        golden: bytes | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> Ticket:
        """Accept a part of a station, of the product it has now unless one is named.

        golden: a picture that the part is compared with instead; no output is told of it then.

        Raises:
            ConfigError: There is no such station or product.
            NotReadyError: No part is taken now.
            QueueFullError: As many wait as may.
        """
        at = self.settings.station(station)
        name = PAIR if golden is not None else product or self.product_of(at.name)
        recipe = self.settings.product(name)
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
                golden=golden,
            ),
            on_event,
        )

    def end_unseen(
        self,
        reason: Reason,
        detail: str,
        *,
        source: str,
        station: str,
        product: str | None = None,
        reference: str | None = None,
    ) -> Ticket:
        """Accept a part that no image can be had of, and end it with the reason at once.

        Raises ConfigError and NotReadyError as ``submit`` does.
        """
        at = self.settings.station(station)
        recipe = self.settings.product(product or self.product_of(at.name))
        part = Part(
            image=b"", station=at.name, product=recipe.name, source=source, reference=reference
        )
        return self.line.end_unseen(part, reason, detail)

    def product_of(self, station: str) -> str:
        """The product that a station has now."""
        chosen = self.journal.fact(f"product:{station}")
        known = {product.name for product in self.settings.products}
        return chosen if chosen in known else self.settings.station(station).product

    def on_final(self, listener: Callable[[FinalRecord, Part], None]) -> None:
        """Call ``listener`` with every final record, in the journal's thread: be quick."""
        self._listeners.append(listener)

    def outputs_of(self, part: Part) -> Iterable[str]:
        """The names of the outputs with a queue that are told of a part."""
        return self.outputs.names_for(part.product)

    def tell(self, name: str, state: Callable[[], Any]) -> None:
        """Have ``/healthz`` tell ``state()`` under a name."""
        self._told[name] = state

    def to_json(self) -> dict[str, Any]:
        """What ``/healthz`` tells."""
        return {
            **self.life.to_json(),
            "bundle": self.line.bundle,
            "engine": self.line.engine,
            "queued": self.line.queued,
            "queue_size": self.settings.daemon.queue_size,
            "outputs": self.outputs.to_json(),
            "alarms": [alarm.to_json() for alarm in self.alarms.all()],
            "counters": {
                **self.line.counters.to_json(),
                "interrupted_at_start": self.interrupted,
            },
            **{name: state() for name, state in self._told.items()},
        }

    def _end_interrupted(self) -> int:
        """End the parts that the last daemon left open; their number."""
        rows = self.journal.open_parts()
        written = [
            self.journal.finish(
                interrupted_record(row, time.time()), self.outputs.names_for(row["product"])
            )
            for row in rows
        ]
        for future in written:
            future.result()
        if rows:
            _LOG.warning("%d parts were not done when the daemon ended; uncertain now", len(rows))
        return len(rows)

    def _region_of(self, product: str) -> tuple[int, int, int, int] | None:
        return next((item.roi for item in self.settings.products if item.name == product), None)

    def _probe(self) -> Probe:
        is_ready = self.life.is_ready and self.line.is_running and not self.alarms.stopping()
        return Probe(state=self.life.state, is_ready=is_ready, queued=self.line.queued)

    def _worker_setup(self, shelf: GoldenShelf) -> WorkerSetup:
        daemon = self.settings.daemon
        try:
            products = place_listed(self.settings, shelf)
        except EdgeError:
            self.journal.close()
            self.folder.close()
            raise
        return WorkerSetup(
            bundle=daemon.bundle,
            provider=daemon.provider,
            threads=daemon.threads,
            packs=self.folder.packs,
            products=products,
            public_key=daemon.public_key,
            max_pixels=daemon.max_pixels,
            max_image_bytes=daemon.max_image_bytes,
        )

    def _on_products(self, setups: Setups) -> None:
        if self.shadow is not None:
            self.shadow.use_products(setups)

    def _on_final(self, record: FinalRecord, part: Part) -> None:
        for listener in self._listeners:
            _tell(listener, record, part)

    def _on_state(self, state: State) -> None:
        _LOG.info("%s%s", state, f": {self.life.reason}" if self.life.reason else "")
        if state == "ready":
            self.journal.set_fact(_DURATIONS, dict(self.life.taken_s))
            bundle = self.settings.daemon.bundle
            self.journal.set_fact(BUNDLE_FACT, None if bundle is None else str(bundle))
            if self.shadow is not None:
                self.shadow.start()


def _tell(listener: Callable[[FinalRecord, Part], None], record: FinalRecord, part: Part) -> None:
    try:
        listener(record, part)
    except Exception:  # one that fails must not keep the others in the dark
        _LOG.exception("who is told of part %d", record.id)
