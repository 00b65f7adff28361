"""``records``: the records of a daemon's parts, read from its state folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from adcopilot_edge.commands.options import Json
from adcopilot_edge.commands.printing import print_fact, print_json


def export_table(
    state: Annotated[Path, typer.Argument(help="The daemon's state folder.")],
    out: Annotated[Path, typer.Option(help="The table, PARTS.csv or PARTS.parquet.")],
    since: Annotated[
        str | None, typer.Option(help="Parts that came then or later: 2026-01-31, or a moment.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Parts that came before that.")] = None,
    station: Annotated[str | None, typer.Option(help="Parts of this station.")] = None,
    product: Annotated[str | None, typer.Option(help="Parts of this product.")] = None,
    verdict: Annotated[
        Literal["normal", "anomaly", "uncertain"] | None, typer.Option(help="With this verdict.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the records of parts as a table, a row for each, in the order they came.

    The daemon may run: nothing is changed, and parts that are not final are left out. Moments
    without a zone are UTC. Columns with several values, as the boxes, hold JSON.

    Example: adcopilot-edge records export state --out parts.csv --since 2026-01-31
    """
    from adcopilot_edge.runtime.daemon.outputs.table import (
        RecordFilter,
        export_records,
        parse_moment,
    )

    which = RecordFilter(
        since=None if since is None else parse_moment(since),
        until=None if until is None else parse_moment(until),
        station=station,
        product=product,
        verdict=verdict,
    )
    count = export_records(state, out, which)
    if as_json:
        print_json({"out": str(out), "records": count})
        return
    print_fact("wrote", str(out))
    print_fact("records", str(count))
