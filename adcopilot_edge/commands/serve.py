"""``serve``: the daemon of a line, from its station file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from adcopilot_edge.errors import MissingExtraError


def serve(
    config: Annotated[Path, typer.Option(help="The station file (TOML).")],
    check: Annotated[
        bool, typer.Option("--check", help="Read the station file, say what is wrong, and end.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the address as JSON, and log a line of JSON each."),
    ] = False,
) -> None:
    """Inspect the parts of a line until told to stop.

    The address is printed once requests are answered; the log goes to stderr.

    Example: adcopilot-edge serve --config station.toml
    """
    from adcopilot_edge.commands.printing import print_json
    from adcopilot_edge.runtime.daemon.door.check import check_door
    from adcopilot_edge.runtime.daemon.log_lines import start_log
    from adcopilot_edge.runtime.daemon.station_file import read_station_file

    settings = read_station_file(config)
    if check:
        check_door(settings)
        counts = {"stations": len(settings.stations), "products": len(settings.products)}
        if as_json:
            print_json({"config": str(config), **counts})
        else:
            print(f"{config}: {counts['stations']} stations, {counts['products']} products")
        return
    try:
        from adcopilot_edge.runtime.daemon.server import Server
    except ImportError as err:
        raise MissingExtraError(
            feature="serve", extra="serve", package=err.name or "fastapi"
        ) from err
    start_log(is_json=as_json)
    code = Server(settings, config).run(
        on_address=lambda address: print(
            json.dumps({"address": address}) if as_json else address, flush=True
        )
    )
    if code:
        raise typer.Exit(code)
