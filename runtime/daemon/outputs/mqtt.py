"""The output ``mqtt``: verdicts to a broker, and whether this daemon is there.

Topics below the prefix, all retained and with QoS 1::

    STATION/verdict   the record of the station's last part, as JSON with ``seq``
    status            ``online``; ``offline`` after an end, and as last will after a loss

Each record is sent alone and counts as told at the broker's PUBACK. A connection that fails is
thrown away with all that paho still holds, so that nothing is sent twice behind our back.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import threading
from contextlib import suppress
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from adcopilot_edge.errors import ConfigError, OutputError
from adcopilot_edge.runtime.daemon.outputs.message import Message
from adcopilot_edge.runtime.daemon.outputs.secret import read_secret
from adcopilot_edge.runtime.daemon.outputs.settings import MqttOutput

_QOS = 1
_BYE_S = 1.0


class MqttChannel:
    """One broker; a ``Channel``.

    Raises ConfigError for a secret or a certificate that can't be read.
    """

    def __init__(self, settings: MqttOutput) -> None:
        self._settings = settings
        self._where = f"the broker {settings.host}:{self._port}"
        self._lock = threading.Lock()
        self._connection: _Connection | None = None
        self._is_over = False
        self._client()

    def open(self) -> None:
        """See ``Channel.open``."""
        if self._connection is not None and self._connection.is_up:
            return
        self._drop()
        connection = _Connection(self._client())
        with self._lock:
            self._connection = connection
            if self._is_over:
                connection.end()
        try:
            connection.open(self._settings, self._port)
            self._publish(f"{self._settings.prefix}/status", b"online")
        except OSError as err:
            self._drop()
            raise OutputError(f"{self._where} can't be reached: {_why(err)}") from err
        except OutputError:
            self._drop()
            raise

    def send(self, message: Message) -> None:
        """See ``Channel.send``."""
        try:
            station = message.record["station"]
            self._publish(f"{self._settings.prefix}/{station}/verdict", message.body())
        except OutputError:
            self._drop()
            raise

    def cancel(self) -> None:
        """See ``Channel.cancel``."""
        with self._lock:
            self._is_over = True
            if self._connection is not None:
                self._connection.end()

    def close(self) -> None:
        """See ``Channel.close``; the status becomes ``offline``."""
        connection = self._connection
        if connection is not None and connection.is_up:
            # A broker sends no will for a client that takes its leave.
            connection.publish(f"{self._settings.prefix}/status", b"offline", _BYE_S)
            connection.leave()
        self._drop()

    @property
    def _port(self) -> int:
        return self._settings.port or (8883 if self._settings.tls else 1883)

    def _publish(self, topic: str, payload: bytes) -> None:
        assert self._connection is not None
        problem = self._connection.publish(topic, payload, self._settings.timeout_s)
        if problem is not None:
            raise OutputError(f"{self._where} {problem}")

    def _drop(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _client(self) -> paho.Client:
        settings = self._settings
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id or f"adcopilot-edge-{secrets.token_hex(6)}",
            clean_session=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = settings.timeout_s
        client.will_set(f"{settings.prefix}/status", b"offline", qos=_QOS, retain=True)
        if settings.username is not None:
            password = read_secret(settings.password_file, settings.password_env)
            client.username_pw_set(
                settings.username, None if password is None else password.decode(errors="strict")
            )
        if settings.tls:
            client.tls_set_context(_tls(settings))
        return client


class _Connection:
    """One client from its connection to its end."""

    def __init__(self, client: paho.Client) -> None:
        self._client = client
        self._changed = threading.Condition()
        self._answer: str | None = None  # of the broker; empty where it took the connection
        self._confirmed: set[int] = set()
        self._is_lost = False
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish

    @property
    def is_up(self) -> bool:
        """Whether the broker took it, and it was not lost since."""
        return self._answer == "" and not self._is_lost

    def open(self, settings: MqttOutput, port: int) -> None:
        """Connect. Raises OSError, or OutputError for a broker that refuses or does not answer."""
        self._client.connect(settings.host, port, keepalive=settings.keepalive_s)
        self._client.loop_start()
        where = f"the broker {settings.host}:{port}"
        with self._changed:
            self._changed.wait_for(
                lambda: self._answer is not None or self._is_lost, settings.timeout_s
            )
            if self._answer:
                raise OutputError(f"{where} refuses this client: {self._answer}")
            if not self.is_up:
                raise OutputError(f"{where} does not answer as a broker does")

    def publish(self, topic: str, payload: bytes, timeout_s: float) -> str | None:
        """Send, and wait for the confirmation; what is wrong, or None."""
        info = self._client.publish(topic, payload, qos=_QOS, retain=True)
        with self._changed:
            self._changed.wait_for(lambda: info.mid in self._confirmed or self._is_lost, timeout_s)
            if info.mid in self._confirmed:
                self._confirmed.clear()
                return None
            if self._is_lost:
                return "closed the connection"
        return f"did not confirm within {timeout_s:g} s"

    def end(self) -> None:
        """Have whoever waits stop waiting."""
        with self._changed:
            self._is_lost = True
            self._changed.notify_all()

    def leave(self) -> None:
        """Tell the broker that this client goes, so that it sends no will."""
        self._client.disconnect()
        with self._changed:
            self._changed.wait_for(lambda: self._is_lost, _BYE_S)

    def close(self) -> None:
        """End the connection, whatever is under way on it."""
        self.end()
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._client.loop_stop()

    def _on_connect(
        self, client: paho.Client, userdata: Any, flags: Any, code: Any, properties: Any
    ) -> None:
        with self._changed:
            self._answer = str(code) if code.is_failure else ""
            self._changed.notify_all()

    def _on_disconnect(
        self, client: paho.Client, userdata: Any, flags: Any, code: Any, properties: Any
    ) -> None:
        self.end()

    def _on_publish(
        self, client: paho.Client, userdata: Any, mid: int, code: Any, properties: Any
    ) -> None:
        with self._changed:
            self._confirmed.add(mid)
            self._changed.notify_all()


def _tls(settings: MqttOutput) -> ssl.SSLContext:
    """Raises ConfigError for a certificate or a key that can't be read."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.certificate_file is not None and settings.key_file is not None:
            context.load_cert_chain(settings.certificate_file, settings.key_file)
    except (OSError, ssl.SSLError) as err:
        files = (settings.ca_file, settings.certificate_file, settings.key_file)
        named = ", ".join(str(file) for file in files if file is not None)
        raise ConfigError(f"{named} can't be used for TLS: {_why(err)}") from err
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _why(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "it takes too long"
    return error.strerror or str(error)
