"""All outputs of a daemon: made from the station file, started, woken, and stopped together."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from adcopilot_edge.errors import ConfigError, MissingExtraError
from adcopilot_edge.runtime.daemon.alarms import Alarms
from adcopilot_edge.runtime.daemon.journal import Journal
from adcopilot_edge.runtime.daemon.outputs.delivery import Delivery
from adcopilot_edge.runtime.daemon.outputs.message import Channel
from adcopilot_edge.runtime.daemon.outputs.outbox import Outbox, journal_mark, waiting_by_output
from adcopilot_edge.runtime.daemon.outputs.plc_server import PlcServer, Serve
from adcopilot_edge.runtime.daemon.outputs.record_files import FileChannel, Place
from adcopilot_edge.runtime.daemon.outputs.settings import (
    FileOutput,
    MqttOutput,
    PlcOutput,
    QueuedOutput,
    WebhookOutput,
)
from adcopilot_edge.runtime.daemon.outputs.signals import Probe, SignalBoard
from adcopilot_edge.runtime.daemon.part import FinalRecord, Part
from adcopilot_edge.runtime.daemon.station_file import StationFile

_LOG = logging.getLogger(__name__)
_LAST_S = 2.0  # for what waits when the daemon ends
_CANCEL_S = 3.0  # for an attempt that was cancelled


class _Running(Protocol):
    """What a delivery and a server for a PLC have in common."""

    @property
    def name(self) -> str: ...

    def start(self) -> None: ...

    def end(self) -> None: ...

    def join(self, seconds: float) -> bool: ...

    def to_json(self) -> dict[str, Any]: ...


class Outputs:
    """The outputs of a station file.

    images: folder of the images that are kept. probe: how the daemon is, for those that a PLC
    reads. place: where the record of a part goes as a file, in place of the folder of its day.

    Raises:
        ConfigError: A secret or a certificate can't be read.
        MissingExtraError: An output needs a package that is not installed.
        JournalError: The journal can't be read or written.
    """

    def __init__(
        self,
        settings: StationFile,
        journal: Journal,
        alarms: Alarms,
        *,
        images: Path,
        probe: Callable[[], Probe],
        place: Place = lambda message: None,
    ) -> None:
        self._settings = settings
        self._images = images
        self._place = place
        self._deliveries: dict[str, Delivery] = {}
        self._servers: dict[str, PlcServer] = {}
        mark = journal_mark(journal)
        for output in settings.outputs:
            if isinstance(output, PlcOutput):
                hold_s = None if output.hold_ms is None else output.hold_ms / 1000
                board = SignalBoard(probe, hold_s=hold_s)
                self._servers[output.name] = PlcServer(output, board, alarms, _server(output))
            else:
                outbox = Outbox(journal, output.name, mark)
                channel = self._channel(output)
                self._deliveries[output.name] = Delivery(output, outbox, channel, alarms)
        for name, waiting in waiting_by_output(journal).items():
            if name not in self._deliveries:
                alarms.set(
                    f"output:{name}",
                    f"{waiting} records wait for the output {name}, which the station file does "
                    "not have; give it back, and they are told",
                )

    def use_products(self, settings: StationFile) -> None:
        """Tell of products as another station file says; its outputs must be the same."""
        self._settings = settings

    def names_for(self, product: str) -> list[str]:
        """The outputs with a queue that are told of a product; all of them if it is unknown."""
        return [name for name in self._deliveries if self._is_told(name, product)]

    def start(self) -> None:
        """Start a thread for each output."""
        for output in self._all().values():
            output.start()

    def on_final(self, record: FinalRecord, part: Part) -> None:
        """Tell the PLCs, and wake those who tell the others; quick enough for any thread."""
        for name, server in self._servers.items():
            if self._station_of(name) != record.station:
                continue
            if self._is_told(name, record.product):
                server.board.tell(record)
            else:
                server.board.withhold()
        for delivery in self._deliveries.values():
            delivery.wake()

    def stop(self) -> None:
        """Tell what goes at once, and end within seconds; the rest stays on the disk."""
        for output in self._all().values():
            output.end()
        until = time.monotonic() + _LAST_S
        late = [item for item in self._deliveries.values() if not item.join(_left(until))]
        for delivery in late:
            delivery.cancel()
        until = time.monotonic() + _CANCEL_S
        for output in self._all().values():
            if not output.join(_left(until)):
                _LOG.warning("output %s does not end; it is left behind", output.name)

    def to_json(self) -> dict[str, Any]:
        """How each output is, by name, as ``/healthz`` tells it."""
        outputs = self._all()
        return {item.name: outputs[item.name].to_json() for item in self._settings.outputs}

    def _all(self) -> dict[str, _Running]:
        return {**self._deliveries, **self._servers}

    def _channel(self, output: QueuedOutput) -> Channel:
        if isinstance(output, MqttOutput):
            try:
                from adcopilot_edge.runtime.daemon.outputs.mqtt import MqttChannel
            except ImportError as err:
                raise _missing(output.kind, "serve", err) from err
            return MqttChannel(output)
        if isinstance(output, WebhookOutput):
            from adcopilot_edge.runtime.daemon.outputs.webhook import WebhookChannel

            return WebhookChannel(output)
        assert isinstance(output, FileOutput)
        return FileChannel(output, self._images, place=self._place)

    def _is_told(self, output: str, product: str) -> bool:
        wanted = _outputs_of(self._settings, product)
        return wanted is None or output in wanted

    def _station_of(self, output: str) -> str:
        (settings,) = (item for item in self._settings.outputs if item.name == output)
        assert isinstance(settings, PlcOutput)
        return settings.station or self._settings.stations[0].name


def _server(output: PlcOutput) -> Serve:
    try:
        if output.kind == "modbus":
            from adcopilot_edge.runtime.daemon.outputs.modbus import serve_modbus

            return serve_modbus
        from adcopilot_edge.runtime.daemon.outputs.opcua import serve_opcua
    except ImportError as err:
        raise _missing(output.kind, "plc", err) from err
    return serve_opcua


def _outputs_of(settings: StationFile, product: str) -> Iterable[str] | None:
    try:
        return settings.product(product).outputs
    except ConfigError:
        return None


def _missing(kind: str, extra: str, error: ImportError) -> MissingExtraError:
    return MissingExtraError(
        feature=f"the output {kind}", extra=extra, package=(error.name or kind).split(".")[0]
    )


def _left(until: float) -> float:
    return max(0.0, until - time.monotonic())
