"""A real broker for tests: mosquitto of Debian, started and stopped by the test."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading

import paho.mqtt.client as paho
import pytest
from outputs_bench import free_port, until
from paho.mqtt.enums import CallbackAPIVersion

_PROGRAM = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

needs_mosquitto = pytest.mark.skipif(_PROGRAM is None, reason="mosquitto is not installed")


class Broker:
    """A broker on a port of its own that can be stopped and started again."""

    def __init__(self, folder, *lines):
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            "\n".join(
                [
                    "user root",
                    "persistence true",
                    f"persistence_location {folder}/",
                    "log_dest none",
                    f"listener {self.port} 127.0.0.1",
                    *(lines or ["allow_anonymous true"]),
                    "",
                ]
            )
        )
        self._process = None

    def start(self):
        self._process = subprocess.Popen([_PROGRAM, "-c", self._config])
        until(self._answers)

    def stop(self):
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def freeze(self):
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self._process.pid, signal.SIGCONT)

    def _answers(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


class Listener:
    """A client that notes all it hears; the broker keeps for it what comes while it is away."""

    def __init__(self, port, topic="#"):
        self.heard = []
        self._ready = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=secrets.token_hex(6), clean_session=False
        )
        self._client.reconnect_delay_set(1, 1)
        self._topic = topic
        self._client.on_connect = self._subscribe
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._note
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(10)

    def _subscribe(self, client, userdata, flags, code, properties):
        if not flags.session_present:  # else it would hear what is retained a second time
            client.subscribe(self._topic, qos=1)

    def _note(self, client, userdata, message):
        heard = (message.topic, message.payload, bool(message.retain))
        # The broker itself repeats, and marks so, what this listener had no time to confirm before
        # the broker ended. The mark is of this hop alone: what is published twice does not have it.
        if not (message.dup and heard in self.heard):
            self.heard.append(heard)

    def payloads(self, topic):
        return [payload for heard, payload, _ in self.heard if heard == topic]

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()
