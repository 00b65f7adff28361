"""The tokens of a station: who has one, with which role. The file has only their hashes."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.record import Record
from adcopilot_edge.runtime.daemon.door.private_file import write_private
from adcopilot_edge.runtime.daemon.door.roles import Role

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PREFIX = "adce_"  # so that a scanner for secrets, or a person, sees what it is
_RANDOM_BYTES = 32
_LONGEST = 256


class Token(Record):
    """A token that was given out.

    sha256: of its text. The text has 256 random bits, so a slow hash would add nothing. added_at:
    seconds since 1970.
    """

    name: str
    role: Role
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    added_at: float


class _TokenFile(Record):
    version: int = Field(default=1, ge=1, le=1)
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True)
class _Seen:
    inode: int
    modified_ns: int
    size: int


class TokenStore:
    """The tokens in a file, read anew when it changes; ``add`` and ``remove`` may run meanwhile.

    Raises ConfigError when the file can't be read, is damaged, or others may read it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: _Seen | None = None
        self._tokens: tuple[Token, ...] = ()

    def all(self) -> tuple[Token, ...]:
        """Every token, by name."""
        seen = self._look()
        if seen != self._seen:
            self._tokens = self._read() if seen is not None else ()
            self._seen = seen
        return self._tokens

    def find(self, text: str) -> Token | None:
        """The token with that text, None for an unknown one or when the file is unusable.

        Every hash is compared, each in a time that does not depend on where they differ.
        """
        if not text.startswith(_PREFIX) or len(text) > _LONGEST:
            return None
        given = hash_secret(text)
        found = None
        for token in self._usable():
            if hmac.compare_digest(token.sha256, given):
                found = token
        return found

    def by_hash(self, sha256: str) -> Token | None:
        """The token with that hash, None when it was removed."""
        return next((item for item in self._usable() if item.sha256 == sha256), None)

    def add(self, name: str, role: Role) -> str:
        """Make a token and return its text, which is kept nowhere. Raises ConfigError."""
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} is no name for a token: letters, digits, '.', '_' and '-', at most 64"
            )
        with self._changing() as tokens:
            if any(token.name == name for token in tokens):
                raise ConfigError(
                    f"there is a token {name} already; remove it first, or choose another name"
                )
            text = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
            tokens.append(
                Token(name=name, role=role, sha256=hash_secret(text), added_at=time.time())
            )
        return text

    def remove(self, name: str) -> None:
        """Refuse a token from now on, also in a daemon that runs. Raises ConfigError."""
        with self._changing() as tokens:
            left = [token for token in tokens if token.name != name]
            if len(left) == len(tokens):
                known = ", ".join(token.name for token in tokens) or "none"
                raise ConfigError(f"there is no token {name!r}; known: {known}")
            tokens[:] = left

    def _usable(self) -> tuple[Token, ...]:
        try:
            return self.all()
        except ConfigError as err:
            _LOG.error("no token is accepted: %s", err)
            return ()

    def _look(self) -> _Seen | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as err:
            raise ConfigError(f"{self.path} can't be read: {err.strerror}") from err
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise ConfigError(
                f"{self.path} may be read by others. Take that back: chmod 600 {self.path}"
            )
        return _Seen(status.st_ino, status.st_mtime_ns, status.st_size)

    def _read(self) -> tuple[Token, ...]:
        try:
            content = self.path.read_bytes()
            tokens = _TokenFile.model_validate_json(content).tokens
        except OSError as err:
            raise ConfigError(f"{self.path} can't be read: {err.strerror}") from err
        except ValidationError as err:
            raise ConfigError(
                f"{self.path} is damaged. Remove it, and add the tokens anew"
            ) from err
        return tuple(sorted(tokens, key=lambda token: token.name))

    @contextmanager
    def _changing(self) -> Iterator[list[Token]]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path.with_name(".tokens.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as err:
            raise ConfigError(f"{self.path.parent} can't be written: {err.strerror}") from err
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tokens = list(self.all())
            yield tokens
            write_private(self.path, _TokenFile(tokens=tuple(tokens)).model_dump_json(indent=1))
        finally:
            os.close(lock)


def hash_secret(text: str) -> str:
    """The SHA-256 of a secret with many random bits, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()
