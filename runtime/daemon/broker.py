"""Where an MQTT broker is, and how to get in."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from adcopilot_edge.record import Record


class BrokerSettings(Record):
    """Where an MQTT broker is, and how to get in.

    port: 1883, or 8883 with tls, where it is left out. ca, certificate, key: PEM files; without
    ``ca`` the system's own authorities count. password_file: its first line is the password.
    """

    host: str = Field(min_length=1)
    port: int | None = Field(default=None, gt=0, le=65535)
    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    user: str | None = None
    password_file: Path | None = None
    keepalive_s: int = Field(default=15, gt=0, le=3600)

    @model_validator(mode="after")
    def _check(self) -> BrokerSettings:
        if not self.tls and (self.ca or self.certificate or self.key):
            raise ValueError("ca, certificate and key count with tls = true only")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key come together")
        if self.password_file is not None and self.user is None:
            raise ValueError("password_file needs a user")
        return self

    def __str__(self) -> str:
        return f"{self.host}:{self.port_in_use}"

    @property
    def port_in_use(self) -> int:
        """The port, also where none was given."""
        return self.port or (8883 if self.tls else 1883)
