"""What systemd is told over the socket of ``NOTIFY_SOCKET``: ready, status, alive, stopping."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from adcopilot_edge.runtime.daemon.life import Life, State
from adcopilot_edge.runtime.daemon.station import StationDaemon

_LOG = logging.getLogger(__name__)
_LINE_S = 5.0  # its thread comes by every second; starting a worker anew may take some


class Systemd:
    """Tells systemd of this process; without a socket, nothing.

    environment: that of the process. WATCHDOG_USEC counts only where WATCHDOG_PID is this process.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = f"\0{self._address[1:]}"
        is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        every_us = environment.get("WATCHDOG_USEC", "") if is_ours else ""
        self.watchdog_s = int(every_us) / 1e6 if every_us.isdigit() and self._address else None

    def tell(self, **facts: str) -> None:
        """Send assignments as ``READY=1``; one that can't be sent is only noted in the log."""
        if not self._address:
            return
        text = "\n".join(f"{name}={_one_line(value)}" for name, value in facts.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(1.0)
                sender.sendto(text.encode(), self._address)
        except OSError as err:
            _LOG.warning("systemd can't be told: %s", err)

    def follow(self, life: Life) -> None:
        """Tell every state from now on, and the present one."""
        life.listen(lambda state: self._tell_state(life, state))
        self._tell_state(life, life.state)

    def reloading(self) -> None:
        """Say that the settings are read anew; ``reloaded`` says that it is done."""
        self.tell(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))

    def reloaded(self) -> None:
        """Say that the settings were read."""
        self.tell(READY="1")

    def watch(self, is_moving: Callable[[float], bool], over: threading.Event) -> None:
        """Say twice in each period that the daemon lives, as long as ``is_moving``; until ``over``.

        is_moving: whether it makes progress, found out within the seconds given.
        """
        if self.watchdog_s is None:
            return
        pause = self.watchdog_s / 2
        while not over.wait(pause / 2):
            if is_moving(pause / 2):
                self.tell(WATCHDOG="1")
            else:
                _LOG.error("the line or the journal does not move; systemd is not told of life")

    def _tell_state(self, life: Life, state: State) -> None:
        words = state if life.reason is None else f"{state}: {life.reason}"
        if state == "ready":
            self.tell(READY="1", STATUS=words)
        elif life.is_over:
            self.tell(STOPPING="1", STATUS=words)
        else:
            self.tell(STATUS=words)


def is_moving(daemon: StationDaemon, within_s: float) -> bool:
    """Whether the line's thread came by of late, and the journal's comes to what waits now."""
    if daemon.life.state in ("stopped", "failed"):
        return True  # the way out has its own limit of time
    return daemon.line.silent_s < max(_LINE_S, within_s) and daemon.journal.is_moving(within_s)


def start_watching(systemd: Systemd, daemon: StationDaemon, over: threading.Event) -> None:
    """Keep the watchdog content in a thread of its own, until ``over``."""
    if systemd.watchdog_s is not None:
        threading.Thread(
            target=systemd.watch,
            args=(lambda within_s: is_moving(daemon, within_s), over),
            name="watchdog",
            daemon=True,
        ).start()


def _one_line(value: str) -> str:
    with suppress(UnicodeError):
        value = value.encode("utf-8", "replace").decode()
    return " ".join(value.split())
