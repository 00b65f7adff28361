"""uvicorn's protocol with what it lacks: limits on time and on the number of connections.

Without them a client that sends half a head, or reads half an answer, holds its connection for
ever.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from adcopilot_edge.runtime.daemon.http_settings import HttpSettings

_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def door_protocol(settings: HttpSettings) -> type[H11Protocol]:
    """The protocol with the limits of ``settings``, for ``uvicorn.Config(http=...)``."""

    class DoorProtocol(_LimitedProtocol):
        head_time_s = settings.header_timeout_s
        read_time_s = settings.body_timeout_s
        most_connections = settings.max_connections

    return DoorProtocol


class _LimitedProtocol(H11Protocol):
    head_time_s: float
    read_time_s: float
    most_connections: int
    _head_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.access_log = False  # its lines have the query
        if len(self.connections) > self.most_connections:
            transport.abort()
            return
        # asyncio does so for sockets that name their protocol, which those of create_server do not;
        # else the body of an answer waits 40 ms for the client to acknowledge its head.
        with suppress(OSError):
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_watching()
        else:
            self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        self._stop_waiting()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads more slowly than is written: give it its time."""
        super().pause_writing()
        self._stop_waiting()
        self._read_timer = self.loop.call_later(self.read_time_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read."""
        self._stop_waiting()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Say that the request is none, or close when an answer was begun already."""
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self.transport.close()

    def _stop_waiting(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _watch_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_time_s, self._give_up)

    def _stop_watching(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self.conn.our_state is h11.IDLE:
            with suppress(OSError):
                self.transport.write(_TOO_SLOW)
        self.transport.close()
