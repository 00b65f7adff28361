"""``verify``: does a bundle work here as it did where it was exported?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adcopilot_edge.commands.options import Json, Provider, Threads
from adcopilot_edge.commands.printing import print_fact, print_json, print_rows
from adcopilot_edge.errors import ParityError


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    as_json: Json = False,
    provider: Provider = "cpu",
    threads: Threads = None,
) -> None:
    """Hash every file of a bundle, then run its stored pairs and compare every stage.

    Exits with 3 when a file is damaged and with 4 when a stage is out of its tolerance.

    Example: adcopilot-edge verify bundle
    """
    from adcopilot_edge.runtime.verify import verify_bundle

    report = verify_bundle(bundle, provider=provider, num_threads=threads)
    failure = report.first_failure
    if as_json:
        print_json(report.to_json())
    else:
        print_fact("bundle", report.bundle)
        print_fact("files", f"{report.num_files}, all hashes match")
        print_fact("pairs", str(report.num_pairs) if report.num_pairs else "none stored")
        print_rows(
            (
                stage.stage,
                stage.metric,
                f"{stage.error:.3g}",
                f"limit {stage.tolerance:.3g}",
                "passed" if stage.passed else "FAILED",
            )
            for stage in report.stages
        )
        print_fact("result", "passed" if failure is None else f"FAILED at {failure.stage}")
    if failure is not None:
        raise typer.Exit(ParityError.exit_code)
