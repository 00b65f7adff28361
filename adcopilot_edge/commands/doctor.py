"""``doctor``: what this machine has, what of it works, and which threads are fastest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adcopilot_edge.commands.options import Json
from adcopilot_edge.commands.printing import print_fact, print_json
from adcopilot_edge.commands.tune import tune_threads
from adcopilot_edge.errors import ConfigError

if TYPE_CHECKING:
    from adcopilot_edge.runtime.thread_store import StoredThreads


def doctor(
    bundle: Annotated[
        Path | None, typer.Argument(help="The bundle; by default the one in this package.")
    ] = None,
    tune: Annotated[
        bool,
        typer.Option(
            "--tune", help="Measure verdicts under other thread settings, and store the fastest."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="With --tune: the file to store in, for --threads FILE; by default in threads/ in "
            "the bundle's folder, where every command finds it."
        ),
    ] = None,
    max_time: Annotated[str, typer.Option(help="With --tune: how long to measure.")] = "60s",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="With --tune: list the settings to try, and stop."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show providers, versions, CPU, memory and the bundle, each tried, not guessed.

    A provider works when it has run a graph of the bundle. Exits with 1 when there is a problem;
    problems are listed at the end.

    With --tune each setting (number of threads, spinning or not, on which cores) takes turns with
    onnxruntime's own choice. One is chosen only when a second measurement confirms that its
    verdicts are faster by more than the scatter and by 2 %; otherwise the default is stored. With
    too little time to tell, nothing is stored and the exit code is 1. Other programs that run
    meanwhile are part of what is measured: let run what runs on the line.

    Examples: adcopilot-edge doctor --json;
    adcopilot-edge doctor --tune bundle --max-time 2m;
    adcopilot-edge doctor --tune bundle --out threads.json
    """
    if tune:
        tune_threads(bundle, out, max_time=max_time, dry_run=dry_run, as_json=as_json)
        return
    if out is not None or dry_run:
        raise ConfigError("--out and --dry-run are for doctor --tune")
    from adcopilot_edge.runtime.doctor import examine_machine

    report = examine_machine(bundle_path=bundle)
    if as_json:
        print_json(report.to_json())
    else:
        for name, value in report.machine.items():
            print_fact(name, value)
        embedded = "none embedded" if bundle is None else "none that can be used"
        print_fact("bundle", report.bundle or embedded)
        print_fact("providers", "\n".join(f"{it.name}: {it.state}" for it in report.providers))
        print_fact("threads", "\n".join(map(_threads_words, report.threads)) or "not tuned")
        print_fact("packages", "\n".join(" ".join(it) for it in report.packages.items()))
        for problem in report.problems:
            print(f"problem: {problem}", file=sys.stderr)
    if report.problems:
        raise typer.Exit(1)


def _threads_words(stored: StoredThreads) -> str:
    if stored.state is None:
        return f"not used: {stored.problem}"
    words = f"{stored.state.settings.words()} ({stored.state.id})"
    return f"{words}, used" if stored.problem is None else f"{words}, not used: {stored.problem}"
