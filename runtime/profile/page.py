"""A profile as one HTML page: tables and charts, no script, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from adcopilot_edge.runtime.profile.report import RULE, CaseReport, ProfileReport
from adcopilot_edge.runtime.profile.statistics import Summary
from adcopilot_edge.runtime.profile.svg import BarRow, Line, bars, histogram, lines
from adcopilot_edge.runtime.profile.sweep import case_name

_MIB = 1 << 20
_MAX_POINTS = 2000  # of a chart over time; a soak has many more
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1b1f24;background:#fff;max-width:900px;
margin:32px auto;padding:0 20px}
h1{font-size:24px}h2{font-size:20px;margin-top:40px;border-top:1px solid #d9dee4;padding-top:16px}
h3{font-size:16px;margin:24px 0 6px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px}
th,td{padding:3px 10px;text-align:right;border-bottom:1px solid #e8ebef}
th:first-child,td:first-child{text-align:left;padding-left:0}th{color:#626c78;font-weight:600}
p{margin:6px 0}.no{color:#b42318;font-weight:600}.note{color:#626c78}
svg{max-width:100%;height:auto;font-family:system-ui,sans-serif;display:block}
.wide{overflow-x:auto}
"""


def html_page(report: ProfileReport) -> str:
    """The page; it needs no other file."""
    machine = ", ".join(
        value for name, value in report.machine.items() if name in ("cpu", "board", "jetson")
    )
    cores = report.machine.get("cores", "?")
    versions = ", ".join(f"{name} {version}" for name, version in report.packages.items())
    body = [
        "<h1>Profile of inspections</h1>",
        _note(f"{machine}, {cores} cores. {report.finished_at}. {versions}."),
        _note(f"Rule: {RULE}. Percentiles are measured values (nearest rank)."),
    ]
    if len(report.cases) > 1:
        body += _comparison(report.cases)
    for case in report.cases:
        body += _case(case, case_name(case, report.cases))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>adcopilot-edge profile</title><style>{_STYLE}</style></head>\n"
        f"<body>{''.join(body)}</body></html>\n"
    )


def _comparison(cases: Sequence[CaseReport]) -> Iterator[str]:
    """All cases in one table and one chart."""
    names = [case_name(case, cases) for case in cases]
    wholes = [case.stages()["inspection"] for case in cases]
    yield "<h2>All cases</h2>"
    yield _table(
        ("case", "p50 ms", "p90", "p99", "max", "per s", "in takt", "stable", "peak MiB"),
        (
            (
                name,
                *_figures(whole),
                f"{case.measurement.per_second:.2f}",
                _share(case.goodput()),
                "yes" if case.measurement.stability.is_stable else "NO",
                f"{case.peak_rss_bytes / _MIB:.0f}",
            )
            for name, case, whole in zip(names, cases, wholes, strict=True)
        ),
    )
    axis = sweep_axis(cases)
    if axis is None:
        yield "<h3>Whole inspection: p50, and on to p99</h3>"
        yield bars(
            [
                BarRow(name=name, value=whole.p50, reach=whole.p99)
                for name, whole in zip(names, wholes, strict=True)
            ],
            "ms",
        )
        return
    label, places = axis
    ordered = sorted(zip(places, cases, wholes, strict=True), key=lambda item: item[0])
    xs = [place for place, _, _ in ordered]
    yield f"<h3>Whole inspection by {label}</h3>"
    yield lines(
        [
            Line(name=name, xs=xs, ys=[getattr(whole, name) for _, _, whole in ordered])
            for name in ("p50", "p90", "p99")
        ],
        label,
        "ms",
    )
    yield f"<h3>Inspections a second by {label}</h3>"
    rates = [case.measurement.per_second for _, case, _ in ordered]
    yield lines([Line(name="inspections a second", xs=xs, ys=rates)], label, "per second")


def sweep_axis(cases: Sequence[CaseReport]) -> tuple[str, list[float]] | None:
    """The one number in which cases differ, with its name; None if it is no number or several.

    Threads, callers, or the pixels of the image.
    """
    if len({(case.settings.task, case.bundle.precision) for case in cases}) > 1:
        return None
    axes: dict[str, list[float | None]] = {
        "threads": [case.settings.num_threads for case in cases],
        "callers at once": [case.settings.concurrency for case in cases],
        "pixels of the image": [
            case.bundle.image_height * case.bundle.image_width for case in cases
        ],
    }
    differing = {label: values for label, values in axes.items() if len({*values}) > 1}
    if len(differing) != 1:
        return None
    ((label, values),) = differing.items()
    numbers = [value for value in values if value is not None]
    return (label, numbers) if len({*numbers}) == len(cases) else None


def _case(case: CaseReport, name: str) -> Iterator[str]:
    settings, measured, bundle = case.settings, case.measurement, case.bundle
    stages, limits = case.stages(), case.limits
    yield f"<h2>{escape(name)}</h2>"
    yield _paragraph(
        f"Bundle {bundle.id}, {bundle.image_height}x{bundle.image_width}, {bundle.precision}; "
        f"{case.words()}."
    )
    stability = measured.stability
    state = "Stable" if stability.is_stable else '<span class="no">Not stable</span>'
    yield (
        f"<p>{state}: {len(measured.trials)} inspections in {measured.wall_s:.1f} s, "
        f"{stability.words()}; stopped by: {measured.stopped_by}. {measured.per_second:.2f} "
        f"inspections a second.</p>"
    )
    if (share := case.goodput()) is not None:
        yield _paragraph(
            f"{_share(share)} of the parts within the takt of {settings.takt_ms:g} ms."
        )
    yield from (_note(note) for note in case.notes)
    yield "<h3>Stages</h3>"
    yield _table(
        ("stage", "p50 ms", "p90", "p99", "max", "least", "reached", "bound by"),
        ((stage, *_figures(row), *_bounds(case, stage)) for stage, row in stages.items()),
    )
    yield _note(
        "bar: p50, line: to p99"
        + (", green mark: the least time at this machine's measured rates" if limits else "")
    )
    yield bars(
        [
            BarRow(
                name=stage,
                value=row.p50,
                reach=row.p99,
                least=limits.stages[stage].least_ms if limits and stage in limits.stages else None,
            )
            for stage, row in {**stages, **case.asides()}.items()
        ],
        "ms",
    )
    yield _note("golden_uncached, golden_cached and overlay are no part of an inspection.")
    yield "<h3>Latency of inspections</h3>"
    whole = stages["inspection"]
    marks = {"p50": whole.p50, "p90": whole.p90, "p99": whole.p99}
    if settings.takt_ms is not None:
        marks["takt"] = settings.takt_ms
    yield histogram(case.latencies_ms, marks, "ms")
    yield from _over_time(case)
    yield from _facts(case)


def _over_time(case: CaseReport) -> Iterator[str]:
    """Latency, then each kind of sensor, over the seconds since the first inspection."""
    trials = sorted(case.measurement.trials, key=lambda trial: trial.start_s)
    start_s = trials[0].start_s
    step = max(1, len(trials) // _MAX_POINTS)
    # The slowest of each step, so that no outlier is thinned out.
    chosen = [
        max(trials[place : place + step], key=lambda trial: trial.latency_ms)
        for place in range(0, len(trials), step)
    ]
    yield "<h3>Over time</h3>"
    yield lines(
        [
            Line(
                name="inspection",
                xs=[trial.start_s - start_s for trial in chosen],
                ys=[trial.latency_ms for trial in chosen],
                is_joined=False,
            )
        ],
        "s",
        "ms",
    )
    samples = [sample for sample in case.samples if sample.time_s >= start_s]
    for title, kind, unit, scale in (
        ("Temperature", "temperatures_c", "C", 1.0),
        ("Power", "power_mw", "W", 1000.0),
        ("Clocks", "clocks_mhz", "MHz", 1.0),
    ):
        values: dict[str, tuple[list[float], list[float]]] = {}
        for sample in samples:
            for place, value in getattr(sample.reading, kind).items():
                xs, ys = values.setdefault(place, ([], []))
                xs.append(sample.time_s - start_s)
                ys.append(value / scale)
        # As many as there are colours: those that get highest.
        highest = sorted(values.items(), key=lambda item: -max(item[1][1]))[:4]
        if highest and len(highest[0][1][0]) > 1:
            yield f"<h3>{title}</h3>"
            yield lines(
                [Line(name=place, xs=xs, ys=ys) for place, (xs, ys) in highest],
                "s",
                unit,
                from_zero=kind != "temperatures_c",
            )


def _facts(case: CaseReport) -> Iterator[str]:
    """Opening, tokens, memory, rates."""
    opening = case.opening
    memory = f"peak RSS {case.peak_rss_bytes / _MIB:.0f} MiB"
    if case.peak_device_bytes is not None:
        memory += f"; device {case.peak_device_bytes / _MIB:.0f} MiB in use by all programs"
    rows = [
        (
            "opening",
            f"hash {opening.hash_ms:.0f} ms, load {opening.load_ms:.0f} ms, golden "
            f"{opening.golden_ms:.0f} ms, first inspection {opening.first_ms:.0f} ms",
        ),
        ("warm-up", f"{len(case.warm_up_ms)} inspections, apart"),
        ("memory", memory),
        (
            "tokens",
            "; ".join(
                f"{name} {row.read} read"
                + (f", {row.written:.0f} written" if row.written else "")
                + (f" at {row.written_per_second:.0f}/s" if row.written_per_second else "")
                for name, row in case.tokens.items()
            ),
        ),
    ]
    if case.limits is not None:
        rates = case.limits.rates
        integers = (
            "" if rates.integer_ops is None else f", int8 {rates.integer_ops / 1e9:.0f} Gop/s"
        )
        rows.append(
            (
                "machine",
                f"memory {rates.memory / 1e9:.1f} GB/s, float {rates.float_ops / 1e9:.0f} Gflop/s"
                f"{integers}, measured in the same run with {rates.threads} threads",
            )
        )
    thermal = case.thermal
    if thermal.power_mode is not None:
        rows.append(("power mode", thermal.power_mode))
    if thermal.energy_j is not None:
        each = thermal.energy_j / len(case.measurement.trials)
        rows.append(("energy", f"{each:.2f} J an inspection, {', '.join(thermal.energy_rails)}"))
    if thermal.throttled:
        rows.append(("held back", "; ".join(thermal.throttled)))
    yield "<h3>More</h3><table>"
    for name, words in rows:
        yield f'<tr><td>{escape(name)}</td><td style="text-align:left">{escape(words)}</td></tr>'
    yield "</table>"


def _bounds(case: CaseReport, stage: str) -> tuple[str, str, str]:
    limit = case.limits.stages.get(stage) if case.limits else None
    if limit is None:
        return "", "", ""
    return f"{limit.least_ms:.2f}", f"{limit.reached:.1%}", limit.bound


def _figures(row: Summary) -> tuple[str, ...]:
    return tuple(f"{value:.2f}" for value in (row.p50, row.p90, row.p99, row.max))


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _paragraph(words: str) -> str:
    return f"<p>{escape(words)}</p>"


def _note(words: str) -> str:
    return f'<p class="note">{escape(words)}</p>'
