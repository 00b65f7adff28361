"""``token``: who may come in at the daemon's door: add, list, remove."""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adcopilot_edge.commands.options import Json
from adcopilot_edge.commands.printing import print_json, print_rows

if TYPE_CHECKING:
    from adcopilot_edge.runtime.daemon.door.tokens import TokenStore

Config = Annotated[Path, typer.Option(help="The station file (TOML) of the daemon.")]
Name = Annotated[str, typer.Argument(help="Who or what has the token, as tablet-3.")]


class RoleName(str, Enum):
    """The roles, as the option has them."""

    operator = "operator"
    admin = "admin"


def add_token(
    name: Name,
    config: Config,
    role: Annotated[
        RoleName,
        typer.Option(help="operator: parts, results, reviews. admin: products and goldens, too."),
    ] = RoleName.operator,
    as_json: Json = False,
) -> None:
    """Make a token and print it, this once: the station keeps only its hash.

    A daemon that runs takes it at once. A program sends it as 'Authorization: Bearer TOKEN'; a
    person signs in with it on the page.

    Example: adcopilot-edge token add tablet-3 --role operator --config station.toml
    """
    text = _store(config).add(name, role.value)
    if as_json:
        print_json({"name": name, "role": role.value, "token": text})
    else:
        print(text)


def list_tokens(config: Config, as_json: Json = False) -> None:
    """Name, role and age of each token; the tokens themselves are kept nowhere.

    Example: adcopilot-edge token list --config station.toml
    """
    tokens = [
        {"name": item.name, "role": item.role, "added_at": _iso(item.added_at)}
        for item in _store(config).all()
    ]
    if as_json:
        print_json({"tokens": tokens})
    else:
        print_rows(tuple(item.values()) for item in tokens)


def remove_token(name: Name, config: Config) -> None:
    """Refuse a token from now on, and all who signed in with it.

    Example: adcopilot-edge token remove tablet-3 --config station.toml
    """
    _store(config).remove(name)


def _store(config: Path) -> TokenStore:
    from adcopilot_edge.runtime.daemon.door.keys import tokens_file
    from adcopilot_edge.runtime.daemon.door.tokens import TokenStore
    from adcopilot_edge.runtime.daemon.station_file import read_station_file

    return TokenStore(tokens_file(read_station_file(config).daemon.state))


def _iso(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
