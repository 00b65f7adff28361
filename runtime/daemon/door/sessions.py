"""Browsers that have signed in: each has a cookie with a secret of its own, never the token."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from pathlib import Path

from pydantic import Field, ValidationError

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.record import Record
from adcopilot_edge.runtime.daemon.door.private_file import write_private
from adcopilot_edge.runtime.daemon.door.roles import Caller
from adcopilot_edge.runtime.daemon.door.tokens import Token, TokenStore, hash_secret

_LOG = logging.getLogger(__name__)
_MOST = 200


class Session(Record):
    """A signed-in browser. token_sha256: of the token it signed in with. Times since 1970, in s."""

    token_sha256: str
    expires_at: float


class _SessionFile(Record):
    sessions: dict[str, Session] = Field(default_factory=dict)


class SessionStore:
    """Sessions by the hash of their secret, in a private file, so that they outlive a restart.

    A session ends with its time, with its token, or when too many newer ones have come. May be
    shared by threads.
    """

    def __init__(self, path: Path, tokens: TokenStore, *, lasting_s: float) -> None:
        self.path = path
        self.lasting_s = lasting_s
        self._tokens = tokens
        self._lock = threading.Lock()
        self._sessions = self._read()

    def start(self, token: Token) -> str:
        """Begin a session for who has that token; the secret for the cookie."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            now = time.time()
            left = {key: item for key, item in self._sessions.items() if item.expires_at > now}
            left[hash_secret(secret)] = Session(
                token_sha256=token.sha256, expires_at=now + self.lasting_s
            )
            self._sessions = dict(list(left.items())[-_MOST:])
            self._write()
        return secret

    def find(self, secret: str) -> Caller | None:
        """Who signed in with that cookie, None when the session is over."""
        session = self._sessions.get(hash_secret(secret))
        if session is None or session.expires_at <= time.time():
            return None
        token = self._tokens.by_hash(session.token_sha256)
        return None if token is None else Caller(name=token.name, role=token.role, way="session")

    def end(self, secret: str) -> None:
        """End a session; without one nothing happens."""
        with self._lock:
            if self._sessions.pop(hash_secret(secret), None) is not None:
                self._write()

    def _read(self) -> dict[str, Session]:
        try:
            return _SessionFile.model_validate_json(self.path.read_bytes()).sessions
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError) as err:
            kind = type(err).__name__
            _LOG.warning("%s can't be used (%s); browsers sign in anew", self.path, kind)
            return {}

    def _write(self) -> None:
        try:
            write_private(self.path, _SessionFile(sessions=self._sessions).model_dump_json())
        except ConfigError as err:
            _LOG.warning("%s; browsers sign in anew after a restart", err)
