"""``profile``: what an inspection costs on this machine, stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from adcopilot_edge.commands.benchmark import write_text
from adcopilot_edge.commands.options import Json, Provider, Threads
from adcopilot_edge.commands.printing import print_json
from adcopilot_edge.commands.progress import StepProgress


def profile(
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[BUNDLE]...", help="Folders of bundles; by default the one in this package."
        ),
    ] = None,
    golden: Annotated[
        Path | None, typer.Option(help="Golden image; by default the sample in this package.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of test images of the golden's view, or one.")
    ] = None,
    task: Annotated[
        Literal["verdict", "classify", "locate", "describe", "all"],
        typer.Option(help="What to ask of each part beside the verdict."),
    ] = "all",
    ask: Annotated[
        str | None,
        typer.Option(help="A question in your own words, asked of each part; its stage is ask."),
    ] = None,
    tile: Annotated[
        bool, typer.Option("--tile", help="Inspect in tiles, as inspect --tile does.")
    ] = False,
    takt_ms: Annotated[
        float | None,
        typer.Option(help="Time allowed for a part: tells the share of parts inside it."),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(help="Callers at once; they share one inspector and take turns.", min=1)
    ] = 1,
    duration: Annotated[
        str | None, typer.Option(help="Measure that long, stable or not: 45, 90s, 30m, 1.5h.")
    ] = None,
    max_time: Annotated[
        str, typer.Option(help="Without --duration: when to give up waiting for stable figures.")
    ] = "60s",
    soak: Annotated[
        str | None,
        typer.Option(help="Measure until the temperature is steady, at most that long: 30m."),
    ] = None,
    warm_up: Annotated[int, typer.Option(help="Inspections that count apart.", min=0)] = 5,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            help="Values to go through, each in a process of its own, as threads=1,2. Keys: "
            "threads, concurrency, task; image-size and precision choose among the bundles."
        ),
    ] = None,
    limits: Annotated[
        bool, typer.Option("--limits/--no-limits", help="Measure what the machine can do, too.")
    ] = True,
    csv: Annotated[Path | None, typer.Option(help="Write a table of all stages here.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write one page with tables and charts here.")
    ] = None,
    as_json: Json = False,
    provider: Provider = "cpu",
    threads: Threads = None,
    max_new_tokens: Annotated[
        int, typer.Option(help="Limit of each answer, in tokens.", min=1)
    ] = 128,
) -> None:
    """Measure each stage of an inspection: times, tokens, memory, and the machine's limits.

    Measures until the figures are stable (at least 30 inspections, median and halves within 3 %),
    or says that they are not. The least time of a stage is what reading its weights and computing
    its products would take at the rates that this machine reaches when it does nothing else. With
    --tile a stage is that of all tiles of a part together, and answers have no least time. On a
    Jetson also power, temperature, clocks and throttling. Exits with 0 also if not stable.

    Examples: adcopilot-edge profile bundle --takt-ms 500 --html profile.html;
    adcopilot-edge profile bundle --task verdict --ask "Is the label straight?";
    adcopilot-edge profile small large --sweep threads=1,2,4 --csv profile.csv;
    adcopilot-edge profile bundle --golden golden.png --images parts --soak 30m
    """
    from adcopilot_edge.commands.profile_report import print_profile
    from adcopilot_edge.runtime.profile.page import html_page
    from adcopilot_edge.runtime.profile.report import profile_report
    from adcopilot_edge.runtime.profile.settings import (
        ProfileSettings,
        find_pictures,
        parse_duration,
    )
    from adcopilot_edge.runtime.profile.sweep import parse_sweep, plan_cases, run_cases
    from adcopilot_edge.runtime.profile.table import csv_table

    values = parse_sweep(sweep or ())
    golden_path, tests = find_pictures(golden, images)
    settings = ProfileSettings(
        golden=golden_path,
        tests=tests,
        task=task,
        ask=ask,
        tile=tile,
        provider=provider,
        threads=threads,
        concurrency=concurrency,
        takt_ms=takt_ms,
        warm_up=warm_up,
        max_time_s=parse_duration(max_time),
        duration_s=None if duration is None else parse_duration(duration),
        soak_s=None if soak is None else parse_duration(soak),
        max_new_tokens=max_new_tokens,
        with_limits=limits,
    )
    cases = plan_cases(bundles or (), values, settings)
    with StepProgress() as progress:
        report = profile_report(list(run_cases(cases, on_step=progress)))
    if csv is not None:
        write_text(csv, csv_table(report.cases))
    if html is not None:
        write_text(html, html_page(report))
    if as_json:
        print_json(report.to_json())
    else:
        print_profile(report)
