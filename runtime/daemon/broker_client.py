"""A client of an MQTT broker that keeps connecting; knows no topic."""

from __future__ import annotations

import ssl
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.daemon.broker import BrokerSettings

_LEAST_RETRY_S, _MOST_RETRY_S = 1, 30


class BrokerClient:
    """A client of MQTT 5 that connects, and connects again, in a thread of its own.

    mqtt: paho's client; set its callbacks before ``start``. session_s: how long the broker keeps
    what it has for this client while that is away; 0 keeps nothing.

    Raises:
        ConfigError: A file for TLS or the password can't be read.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        client_id: str,
        session_s: int = 0,
        manual_ack: bool = False,
    ) -> None:
        self._settings = settings
        self._session_s = session_s
        self.mqtt = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=mqtt.MQTTv5,
            manual_ack=manual_ack,
        )
        self.mqtt.reconnect_delay_set(_LEAST_RETRY_S, _MOST_RETRY_S)
        try:
            self._set_access()
        except (OSError, ssl.SSLError, ValueError) as err:
            raise ConfigError(f"the broker {settings} can't be used: {err}") from err

    def start(self) -> None:
        """Connect in the background, again and again until it works."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._session_s
        self.mqtt.connect_async(
            self._settings.host,
            self._settings.port_in_use,
            keepalive=self._settings.keepalive_s,
            clean_start=self._session_s == 0,
            properties=properties,
        )
        self.mqtt.loop_start()

    def stop(self) -> None:
        """Disconnect, and end the thread."""
        self.mqtt.disconnect()
        self.mqtt.loop_stop()

    def _set_access(self) -> None:
        at = self._settings
        if at.tls:
            self.mqtt.tls_set(
                ca_certs=None if at.ca is None else str(at.ca),
                certfile=None if at.certificate is None else str(at.certificate),
                keyfile=None if at.key is None else str(at.key),
            )
        if at.user is not None:
            self.mqtt.username_pw_set(at.user, _password(at.password_file))


def _password(path: Path | None) -> str | None:
    if path is None:
        return None
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or not lines[0]:
        raise ValueError(f"the first line of {path} is empty, and must be the password")
    return lines[0]
