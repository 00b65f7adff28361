"""The output ``webhook``: each record as a POST.

Headers of a request::

    Content-Type            application/json
    Idempotency-Key         the same for each attempt to tell of one part
    X-AdCopilot-Signature   sha256=HEX, the HMAC-SHA256 of the body, where there is a secret

Any answer of the class 2xx confirms. 400, 413, 415 and 422 refuse this record; every other answer,
redirects among them, is tried again.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from adcopilot_edge import __version__
from adcopilot_edge.errors import ConfigError, OutputError, OutputRefusedError
from adcopilot_edge.runtime.daemon.outputs.message import Message
from adcopilot_edge.runtime.daemon.outputs.secret import read_secret
from adcopilot_edge.runtime.daemon.outputs.settings import WebhookOutput

_REFUSED = frozenset({400, 413, 415, 422})
_MAX_ANSWER = 65_536


class WebhookChannel:
    """One server; a ``Channel``. Each record has a connection of its own.

    Raises ConfigError for a secret or a certificate that can't be read.
    """

    def __init__(self, settings: WebhookOutput) -> None:
        parts = urlsplit(settings.url)
        self._settings = settings
        self._host = parts.hostname or ""
        self._port = parts.port
        self._is_tls = parts.scheme == "https"
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._where = f"{parts.scheme}://{parts.netloc}{parts.path}"  # a query may hold a secret
        self._secret = read_secret(settings.secret_file, settings.secret_env)
        self._tls = _tls(settings) if self._is_tls else None
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None
        self._is_broken = False
        self._is_over = False

    def open(self) -> None:
        """See ``Channel.open``; every record has a connection of its own."""

    def send(self, message: Message) -> None:
        """See ``Channel.send``."""
        body = message.body()
        with self._limited() as connection:
            try:
                connection.request("POST", self._target, body, self._headers(message, body))
                answer = connection.getresponse()
                answer.read(_MAX_ANSWER)
            except (OSError, http.client.HTTPException) as err:
                raise OutputError(f"{self._where} {self._why(err)}") from err
            if self._is_broken:  # what came may be cut
                raise OutputError(f"{self._where} {self._why(TimeoutError())}")
        if 200 <= answer.status < 300:
            return
        words = f"{self._where} answers {answer.status} {answer.reason}".rstrip()
        if answer.status in _REFUSED:
            raise OutputRefusedError(words)
        raise OutputError(words)

    def cancel(self) -> None:
        """See ``Channel.cancel``."""
        with self._lock:
            self._is_over = True
        self._break()

    def close(self) -> None:
        """See ``Channel.close``."""

    @contextmanager
    def _limited(self) -> Iterator[http.client.HTTPConnection]:
        """A connection that is broken when all of the exchange takes too long."""
        limit = self._settings.timeout_s
        connection = (
            http.client.HTTPSConnection(self._host, self._port, timeout=limit, context=self._tls)
            if self._is_tls
            else http.client.HTTPConnection(self._host, self._port, timeout=limit)
        )
        with self._lock:
            if self._is_over:
                raise OutputError("the daemon ends")
            self._connection, self._is_broken = connection, False
        timer = threading.Timer(limit, self._break)
        timer.daemon = True
        timer.start()
        try:
            yield connection
        finally:
            timer.cancel()
            with self._lock:
                self._connection = None
            connection.close()

    def _break(self) -> None:
        with self._lock:
            self._is_broken = True
            sock = None if self._connection is None else self._connection.sock
            if sock is not None:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _headers(self, message: Message, body: bytes) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"adcopilot-edge/{__version__}",
            "Idempotency-Key": message.key,
            "Connection": "close",
        }
        if self._secret is not None:
            signature = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
            headers["X-AdCopilot-Signature"] = f"sha256={signature}"
        return headers

    def _why(self, error: Exception) -> str:
        if isinstance(error, TimeoutError | http.client.RemoteDisconnected):
            return f"gives no answer within {self._settings.timeout_s:g} s, or none at all"
        if isinstance(error, OSError):
            return f"can't be reached: {error.strerror or error}"
        return f"gives no answer of HTTP: {type(error).__name__}"


def _tls(settings: WebhookOutput) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as err:
        raise ConfigError(f"{settings.ca_file} can't be used for TLS: {err}") from err
