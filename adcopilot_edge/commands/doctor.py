"""``doctor``: what this machine has, and what of it works."""

from __future__ import annotations

import sys

import typer

from adcopilot_edge.commands.options import Json
from adcopilot_edge.commands.printing import print_fact, print_json


def doctor(as_json: Json = False) -> None:
    """Show providers, versions, CPU, memory and the embedded bundle, each tried, not guessed.

    A provider works when it has run a graph of the embedded bundle. Exits with 1 when there is a
    problem; problems are listed at the end.

    Example: adcopilot-edge doctor --json
    """
    from adcopilot_edge.runtime.doctor import examine_machine

    report = examine_machine()
    if as_json:
        print_json(report.to_json())
    else:
        for name, value in report.machine.items():
            print_fact(name, value)
        print_fact("bundle", report.bundle or "none embedded")
        print_fact("providers", "\n".join(f"{it.name}: {it.state}" for it in report.providers))
        print_fact("packages", "\n".join(" ".join(it) for it in report.packages.items()))
        for problem in report.problems:
            print(f"problem: {problem}", file=sys.stderr)
    if report.problems:
        raise typer.Exit(1)
