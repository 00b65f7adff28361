"""Trigger messages over MQTT: a file, or the station's camera, becomes a part.

Paho's thread only queues what comes; another handles it, one message after the other, and confirms
each to the broker when it is done with it.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from typing import Any

import paho.mqtt.client as mqtt

from adcopilot_edge.errors import EdgeError, InputError, QueueFullError
from adcopilot_edge.runtime.daemon.broker_client import BrokerClient
from adcopilot_edge.runtime.daemon.door.paths import open_allowed
from adcopilot_edge.runtime.daemon.inputs.camera import CameraInput
from adcopilot_edge.runtime.daemon.inputs.recent_ids import RecentIds
from adcopilot_edge.runtime.daemon.inputs.settings import MqttSettings
from adcopilot_edge.runtime.daemon.inputs.trigger_message import (
    TriggerMessage,
    error_answer,
    read_trigger,
)
from adcopilot_edge.runtime.daemon.station import StationDaemon
from adcopilot_edge.runtime.daemon.ticket import Ticket

_LOG = logging.getLogger(__name__)
_MAX_QUEUED = 1000
_QOS = 1


class MqttInput:
    """Triggers of one station. camera: what a message without a file triggers.

    Raises:
        ConfigError: A file for the broker can't be read.
    """

    def __init__(self, settings: MqttSettings, camera: CameraInput | None = None) -> None:
        self.name, self.source = settings.name, settings.source
        self.topic = f"{settings.prefix}/{settings.station}/trigger"
        self.error_topic = f"{settings.prefix}/{settings.station}/error"
        self._settings = settings
        self._camera = camera
        self._client = BrokerClient(
            settings.broker,
            client_id=f"adcopilot-edge-{settings.prefix}-{settings.station}-{settings.name}",
            session_s=settings.session_s,
            manual_ack=True,
        )
        self._client.mqtt.on_connect = self._on_connect
        self._client.mqtt.on_connect_fail = self._on_connect_fail
        self._client.mqtt.on_disconnect = self._on_disconnect
        self._client.mqtt.on_subscribe = self._on_subscribe
        self._client.mqtt.on_message = self._on_message
        self._queue: queue.Queue[mqtt.MQTTMessage | None] = queue.Queue(_MAX_QUEUED)
        self._problem: str | None = "it was not started"
        self._counts = {"messages": 0, "accepted": 0, "duplicates": 0, "malformed": 0, "refused": 0}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.source, daemon=True)

    def start(self, daemon: StationDaemon) -> None:
        """Connect, and take messages."""
        self._daemon = daemon
        self._ids = RecentIds(daemon.journal, self.source)
        self._set_problem("not connected yet")
        self._client.start()
        self._thread.start()

    def stop(self) -> None:
        """Take no more messages; what is not confirmed yet stays with the broker."""
        self._stopping.set()
        try:
            self._queue.put_nowait(None)
        except queue.Full:  # then the thread has enough to look at the flag
            return

    def join(self, seconds: float) -> bool:
        """Wait until the message in hand is done; whether it is."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def to_json(self) -> dict[str, Any]:
        """The state: whether the broker is there, and what came of the messages."""
        return {
            "name": self.name,
            "kind": "mqtt",
            "station": self._settings.station,
            "broker": str(self._settings.broker),
            "topic": self.topic,
            "is_well": self._problem is None,
            "problem": self._problem,
            **self._counts,
        }

    def _run(self) -> None:
        while not self._stopping.is_set():
            message = self._queue.get()
            if message is None or self._stopping.is_set():
                break
            self._handle(message)
            self._client.mqtt.ack(message.mid, message.qos)
        self._client.stop()

    def _handle(self, message: mqtt.MQTTMessage) -> None:
        """Make a part of a message, or tell why there is none; never raises."""
        asked: TriggerMessage | None = None
        self._counts["messages"] += 1
        try:
            asked = read_trigger(bytes(message.payload), is_retained=message.retain)
            if asked.id is not None and asked.id in self._ids:
                self._counts["duplicates"] += 1
                return
            self._submit(asked)
            if asked.id is not None:
                self._ids.add(asked.id)
            self._counts["accepted"] += 1
        except EdgeError as err:
            self._counts["malformed" if asked is None else "refused"] += 1
            self._answer(asked, err)
        except Exception as err:  # the thread must live, and the sender is told
            _LOG.exception("%s", self.source)
            self._counts["refused"] += 1
            self._answer(asked, err)

    def _submit(self, asked: TriggerMessage) -> Ticket:
        at = self._settings
        if asked.path is None:
            if self._camera is None:
                raise InputError(f"give a path: the input {self.name} has no camera")
            return self._camera.trigger(reference=asked.reference, product=asked.product)
        return self._daemon.submit(
            open_allowed(asked.path, at.roots, max_bytes=at.max_mb << 20),
            source=self.source,
            station=at.station,
            product=asked.product,
            reference=asked.reference,
        )

    def _answer(self, asked: TriggerMessage | None, error: Exception) -> None:
        content = json.dumps(error_answer(asked, error))
        self._client.mqtt.publish(self.error_topic, content, qos=_QOS)

    def _on_message(self, client: Any, userdata: Any, message: mqtt.MQTTMessage) -> None:
        try:
            self._queue.put_nowait(message)
        except queue.Full:
            self._counts["refused"] += 1
            error = QueueFullError(f"{_MAX_QUEUED} messages wait already", retry_after_s=1.0)
            self._answer(None, error)
            client.ack(message.mid, message.qos)

    def _on_connect(
        self, client: Any, userdata: Any, flags: Any, code: Any, properties: Any
    ) -> None:
        if code.is_failure:
            self._set_problem(f"the broker {self._settings.broker} refuses: {code}")
            return
        client.subscribe(self.topic, qos=_QOS)

    def _on_subscribe(
        self, client: Any, userdata: Any, mid: Any, codes: Any, properties: Any
    ) -> None:
        if any(code.is_failure for code in codes):
            words = f"the broker {self._settings.broker} refuses the topic {self.topic}"
            self._set_problem(f"{words}: {codes[0]}")
            return
        self._set_problem(None)

    def _on_connect_fail(self, client: Any, userdata: Any) -> None:
        self._set_problem(f"the broker {self._settings.broker} can't be reached")

    def _on_disconnect(
        self, client: Any, userdata: Any, flags: Any, code: Any, properties: Any
    ) -> None:
        # A broker that refuses disconnects as well, and the first of the two says why.
        if not self._stopping.is_set() and self._problem is None:
            self._set_problem(f"the broker {self._settings.broker} is gone: {code}")

    def _set_problem(self, problem: str | None) -> None:
        self._problem = problem
        self._daemon.alarms.set(self.source, problem)
