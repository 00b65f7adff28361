"""TLS from the files of a certificate and its key, and what may be wrong with them."""

from __future__ import annotations

import ssl
from pathlib import Path

from adcopilot_edge.errors import ConfigError


def check_tls(cert: Path, key: Path) -> None:
    """Raise ConfigError that names the file when a server can't speak TLS with these."""
    _check_readable("cert", cert)
    _check_readable("key", key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except _LockedKeyError as err:
        raise ConfigError(
            f"http.key: {key} is locked by a password, which nobody could type at the start. "
            f"Unlock it: openssl pkey -in {key} -out key.pem"
        ) from err
    except (ssl.SSLError, OSError) as err:
        reason = getattr(err, "reason", None)
        words = {
            "KEY_VALUES_MISMATCH": "the key is not that of the certificate",
            "NO_START_LINE": "one of them is not in PEM",
        }.get(str(reason), str(err))
        raise ConfigError(f"http.cert {cert} and http.key {key}: {words}") from err


def _check_readable(what: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as err:
        raise ConfigError(f"http.{what}: {path} can't be read: {err.strerror}") from err


class _LockedKeyError(Exception):
    pass


def _no_password() -> str:
    raise _LockedKeyError
