"""The tables ``outputs`` of a station file: who is told of parts, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from adcopilot_edge.record import Record

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Output(Record):
    """name: what products and alarms call it."""

    name: str = Field(pattern=_NAME)


class QueuedOutput(_Output):
    """What every output with a queue on disk has.

    keep: records that may wait; beyond it the oldest go, counted by an alarm. timeout_s: for one
    attempt. retry_max_s: the longest pause between two. alarm_after_s: a record that waits longer
    raises the alarm.
    """

    keep: int = Field(default=100_000, gt=0)
    timeout_s: float = Field(default=5.0, gt=0, le=60)
    retry_max_s: float = Field(default=30.0, gt=0, le=3600)
    alarm_after_s: _Seconds = 10.0


class MqttOutput(QueuedOutput):
    """A broker that is told by ``PREFIX/STATION/verdict`` and ``PREFIX/status``.

    port: 8883 with ``tls`` and 1883 without, unless given. client_id: must differ between daemons
    of one broker; made up for each start where it is left out. password_file, password_env: where
    the password of ``username`` is. ca_file: who signed the broker's certificate, in place of the
    system's. certificate_file, key_file: of this client.
    """

    kind: Literal["mqtt"]
    host: str = Field(min_length=1)
    port: int | None = Field(default=None, gt=0, le=65535)
    prefix: str = "adcopilot"
    client_id: str | None = Field(default=None, min_length=1, max_length=64)
    keepalive_s: int = Field(default=15, gt=0, le=3600)
    username: str | None = Field(default=None, min_length=1)
    password_file: Path | None = None
    password_env: str | None = Field(default=None, pattern=_VARIABLE)
    tls: bool = False
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    @field_validator("prefix")
    @classmethod
    def _is_a_topic(cls, prefix: str) -> str:
        levels = prefix.split("/")
        if not all(levels) or prefix.startswith("$") or set(prefix) & set("+#\0"):
            raise ValueError(
                f"{prefix!r} is no prefix of a topic; give words joined by '/', without + and #"
            )
        return prefix

    @model_validator(mode="after")
    def _check(self) -> MqttOutput:
        if self.password_file is not None and self.password_env is not None:
            raise ValueError("give password_file or password_env, not both")
        if self.username is None and (self.password_file or self.password_env):
            raise ValueError("a password needs a username")
        if not self.tls and (self.ca_file or self.certificate_file or self.key_file):
            raise ValueError("ca_file, certificate_file and key_file need tls = true")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together")
        return self


class WebhookOutput(QueuedOutput):
    """A server that gets each record as a POST.

    secret_file, secret_env: where the key of the signature is; without one nothing is signed.
    ca_file: who signed the server's certificate, in place of the system's.
    """

    kind: Literal["webhook"]
    url: str
    secret_file: Path | None = None
    secret_env: str | None = Field(default=None, pattern=_VARIABLE)
    ca_file: Path | None = None

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the url must begin with http:// or https:// and name a host")
        if parts.username is not None or parts.password is not None:
            raise ValueError("the url must not hold a user or a password; sign with secret_file")
        if any(not "!" <= letter <= "~" for letter in url):
            raise ValueError("the url must be of printable ASCII; write others as %XX")
        parts.port  # noqa: B018  # raises ValueError for a port out of range
        return url

    @model_validator(mode="after")
    def _check(self) -> WebhookOutput:
        if self.secret_file is not None and self.secret_env is not None:
            raise ValueError("give secret_file or secret_env, not both")
        return self


class FileOutput(QueuedOutput):
    """A folder with a JSON file for each record, in a folder for each day (UTC).

    images: put the part's image beside its record where the image is kept. max_age_days: folders of
    older days are removed; 0 keeps all.
    """

    kind: Literal["file"]
    folder: Path
    images: bool = True
    max_age_days: int = Field(default=0, ge=0)


class _PlcOutput(_Output):
    """What every output that a PLC reads has; it tells the present, so nothing waits for it.

    host, port: where it listens. station: whose parts it tells of; may be left out where there is
    one. hold_ms: how long a ``normal`` counts; None is until the next verdict.
    """

    host: str = Field(default="127.0.0.1", min_length=1)
    station: str | None = None
    hold_ms: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class ModbusOutput(_PlcOutput):
    """A Modbus TCP server."""

    kind: Literal["modbus"]
    port: int = Field(default=5020, gt=0, le=65535)


class OpcUaOutput(_PlcOutput):
    """An OPC UA server."""

    kind: Literal["opcua"]
    port: int = Field(default=4840, gt=0, le=65535)


PlcOutput = ModbusOutput | OpcUaOutput
OutputSettings = Annotated[
    MqttOutput | WebhookOutput | FileOutput | ModbusOutput | OpcUaOutput,
    Field(discriminator="kind"),
]
