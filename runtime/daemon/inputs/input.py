"""What every way in can do."""

from __future__ import annotations

from typing import Any, Protocol

from adcopilot_edge.runtime.daemon.station import StationDaemon


class Input(Protocol):
    """A way in. name: of the station file. source: how records name it, as ``folder:belt``."""

    name: str
    source: str

    def start(self, daemon: StationDaemon) -> None:
        """Begin to take parts, in threads of its own. Returns at once."""
        ...

    def stop(self) -> None:
        """Take no more parts. Returns at once; those handed over are seen to their end."""
        ...

    def join(self, seconds: float) -> bool:
        """Wait until its threads have ended; whether they have."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Its state, as ``/healthz`` tells it."""
        ...
