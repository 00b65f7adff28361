"""``replay``: kept images of a daemon inspected again, and compared with their records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adcopilot_edge.commands.options import Json, Threads
from adcopilot_edge.commands.printing import print_json, print_rows
from adcopilot_edge.errors import ConfigError

if TYPE_CHECKING:
    from adcopilot_edge.runtime.daemon.replay import Replayed


def replay(
    state: Annotated[Path, typer.Argument(help="The daemon's state folder; it may be running.")],
    number: Annotated[
        list[int] | None, typer.Option("--id", min=1, help="A part; several may be.")
    ] = None,
    last: Annotated[
        int | None, typer.Option(min=1, help="The last parts whose images are kept, this many.")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Bundle to use, also if it is another one than that of the records."),
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="Where to run; by default where it ran then.")
    ] = None,
    threads: Threads = None,
    tolerance: Annotated[
        float, typer.Option(min=0, max=1, help="How far two scores may lie apart.")
    ] = 1e-4,
    as_json: Json = False,
) -> None:
    """Inspect kept images again with the goldens and thresholds of then, and compare.

    Compared are verdict, score, boxes and words. Exit code 0 if all are equal, 1 if one differs.
    With --json one line for each part.

    Example: adcopilot-edge replay /var/lib/adcopilot-edge --id 4711
    """
    from adcopilot_edge.runtime.daemon.replay import ReplaySource
    from adcopilot_edge.runtime.daemon.replay import replay as again

    if (not number) == (last is None):
        raise ConfigError("say which parts: --id NUMBER, once or several times, or --last COUNT")
    source = ReplaySource(state)
    numbers = number or source.last(last or 0)
    differing = 0
    for found in again(
        source,
        list(numbers),
        bundle=bundle,
        provider=provider,
        threads=threads,
        tolerance=tolerance,
    ):
        differing += bool(found.differences)
        if as_json:
            print_json(found.to_json())
        else:
            _print(found)
    if not as_json:
        print(f"{len(numbers)} parts, {differing} differ")
    if differing:
        raise typer.Exit(1)


def _print(found: Replayed) -> None:
    verdict, score = found.now["verdict"], found.now.get("anomaly_score")
    outcome = "differs" if found.differences else "equal"
    print(f"part {found.id}: {outcome}, {verdict}, anomaly score {score}")
    print_rows((words,) for words in (*found.differences, *found.remarks))
