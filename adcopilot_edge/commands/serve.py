"""``serve``: the daemon of a line, from its station file."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from adcopilot_edge.errors import MissingExtraError


def serve(
    config: Annotated[Path, typer.Option(help="The station file (TOML).")],
    check: Annotated[
        bool, typer.Option("--check", help="Read the station file, say what is wrong, and end.")
    ] = False,
) -> None:
    """Inspect the parts of a line until told to stop.

    Example: adcopilot-edge serve --config station.toml
    """
    from adcopilot_edge.runtime.daemon.door.check import check_door
    from adcopilot_edge.runtime.daemon.station_file import read_station_file

    settings = read_station_file(config)
    if check:
        check_door(settings)
        print(f"{config}: {len(settings.stations)} stations, {len(settings.products)} products")
        return
    try:
        from adcopilot_edge.runtime.daemon.server import Server
    except ImportError as err:
        raise MissingExtraError(
            feature="serve", extra="serve", package=err.name or "fastapi"
        ) from err
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    code = Server(settings).run(on_address=lambda address: print(address, flush=True))
    if code:
        raise typer.Exit(code)
