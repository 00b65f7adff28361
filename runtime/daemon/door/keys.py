"""Tokens, sessions and wrong attempts of one daemon, together."""

from __future__ import annotations

from pathlib import Path

from adcopilot_edge.runtime.daemon.door.asgi import Scope, client_of
from adcopilot_edge.runtime.daemon.door.rate import RateLimit
from adcopilot_edge.runtime.daemon.door.sessions import SessionStore
from adcopilot_edge.runtime.daemon.door.tokens import TokenStore
from adcopilot_edge.runtime.daemon.http_settings import HttpSettings

_FAILURES_PER_S = 0.2
_FAILURES_AT_ONCE = 20.0
_HOUR_S = 3600.0


class Keys:
    """What opens the door of a daemon with this state folder.

    failures: wrong tokens by the address that sent them; 20 at once, then one every 5 seconds.
    """

    def __init__(self, state: Path, settings: HttpSettings) -> None:
        self.settings = settings
        self.tokens = TokenStore(tokens_file(state))
        self.sessions = SessionStore(
            state / "sessions.json", self.tokens, lasting_s=settings.session_hours * _HOUR_S
        )
        self.failures = RateLimit(_FAILURES_PER_S, at_once=_FAILURES_AT_ONCE)

    def note_failure(self, scope: Scope) -> float:
        """Remember a wrong token: 0, or for how many seconds its sender should send no more."""
        return self.failures.take(client_of(scope))


def tokens_file(state: Path) -> Path:
    """The file of tokens in a state folder."""
    return state / "tokens.json"
