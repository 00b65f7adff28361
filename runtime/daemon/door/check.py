"""What is checked before the door opens."""

from __future__ import annotations

import logging

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.daemon.door.keys import tokens_file
from adcopilot_edge.runtime.daemon.door.tls import check_tls
from adcopilot_edge.runtime.daemon.door.tokens import TokenStore
from adcopilot_edge.runtime.daemon.station_file import StationFile

_LOG = logging.getLogger(__name__)


def check_door(settings: StationFile) -> None:
    """Raise ConfigError when the door can't be opened, or would stand open.

    That is: a token is needed and there is none, the file of tokens or the files for TLS are
    unusable, or a root is no folder.
    """
    http = settings.http
    tokens = TokenStore(tokens_file(settings.daemon.state)).all()
    if http.needs_token and not tokens:
        why = "require_token is set" if http.is_loopback else f"{http.host} is not the loopback"
        raise ConfigError(
            f"http: {why}, and there is no token. Make one with: "
            "adcopilot-edge token add NAME --role operator --config STATION_FILE"
        )
    if http.cert is not None and http.key is not None:
        check_tls(http.cert, http.key)
    elif not http.is_loopback:
        _LOG.warning(
            "http: tokens and pictures cross the network in the clear; set cert and key, or keep "
            "%s in a network of its own",
            http.host,
        )
    for root in http.roots:
        if not root.is_dir():
            raise ConfigError(f"http.roots: {root} is no folder")
