"""The table ``http`` of a station file: the address, who may come in, and the limits."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import Field, model_validator

from adcopilot_edge.record import Record


class HttpSettings(Record):
    """The table ``http``.

    host: anything but the loopback needs a token. require_token: ask for one there, too; set it
    where others use this machine, or behind a proxy. allowed_hosts: names that clients call this
    machine by, beside the loopback's and ``host``; another name in a request is refused. cert, key:
    files in PEM for TLS. roots: folders from which a client may name a picture by its path.
    session_hours: how long a browser stays signed in.

    max_body_mb: of a request. body_timeout_s: for a request's body to arrive in whole, and for a
    client to read on in its answer. header_timeout_s: for a request's head to arrive.
    max_connections, max_requests: at a time. requests_per_s: of one address, and of one token, on
    average; twice that at once. 0 is no limit.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8470, ge=0, le=65535)
    require_token: bool = False
    allowed_hosts: tuple[str, ...] = ()
    cert: Path | None = None
    key: Path | None = None
    roots: tuple[Path, ...] = ()
    session_hours: float = Field(default=12.0, gt=0, le=24 * 365)
    max_body_mb: float = Field(default=64.0, gt=0, le=4096)
    body_timeout_s: float = Field(default=30.0, gt=0, le=3600)
    header_timeout_s: float = Field(default=10.0, gt=0, le=3600)
    max_connections: int = Field(default=256, gt=0)
    max_requests: int = Field(default=64, gt=0)
    requests_per_s: float = Field(default=200.0, ge=0, allow_inf_nan=False)

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine reach the address."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def needs_token(self) -> bool:
        """Whether a request without a token is refused."""
        return self.require_token or not self.is_loopback

    @property
    def has_tls(self) -> bool:
        """Whether the door speaks HTTPS."""
        return self.cert is not None

    @property
    def max_body_bytes(self) -> int:
        """The most bytes that a request's body may have."""
        return int(self.max_body_mb * (1 << 20))

    @model_validator(mode="after")
    def _check(self) -> HttpSettings:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key go together: the files of a certificate and its key")
        for name in self.allowed_hosts:
            if not name or any(mark in name for mark in "/:@* \t"):
                raise ValueError(
                    f"allowed_hosts: {name!r} is no host name; give names without port or scheme"
                )
        return self
