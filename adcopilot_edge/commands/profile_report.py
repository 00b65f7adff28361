"""A profile as tables for people: the stages of each case, and the cases side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcopilot_edge.commands.printing import print_fact, print_rows
from adcopilot_edge.runtime.profile.sweep import case_name

if TYPE_CHECKING:
    from adcopilot_edge.runtime.profile.report import CaseReport, ProfileReport
    from adcopilot_edge.runtime.profile.statistics import Summary

_MIB = 1 << 20


def print_profile(report: ProfileReport) -> None:
    """Print each case, then a table of all where there are several."""
    for name in ("cpu", "cores", "board", "jetson"):
        if name in report.machine:
            print_fact(name, report.machine[name])
    for case in report.cases:
        if len(report.cases) > 1:
            print()
            print_fact("case", case_name(case, report.cases))
        _print_case(case)
    if len(report.cases) > 1:
        print()
        _print_comparison(report.cases)


def _print_case(case: CaseReport) -> None:
    settings, measured, opening = case.settings, case.measurement, case.opening
    size = f"{case.bundle.image_height}x{case.bundle.image_width}"
    print_fact("bundle", f"{case.bundle.id}, {size}, {case.bundle.precision}")
    print_fact("provider", case.words())
    print_fact(
        "opening",
        f"hash {opening.hash_ms:.0f} ms, load {opening.load_ms:.0f} ms, golden "
        f"{opening.golden_ms:.0f} ms, first inspection {opening.first_ms:.0f} ms",
    )
    stability = measured.stability
    print_fact(
        "measured",
        f"{len(measured.trials)} inspections in {measured.wall_s:.1f} s after "
        f"{len(case.warm_up_ms)} to warm up; stopped by: {measured.stopped_by}",
    )
    print_fact(
        "stable",
        f"{'yes' if stability.is_stable else 'NO'}, {stability.words()}",
    )
    header = ("ms", "p50", "p90", "p99", "max", "least", "reached", "tokens")
    print_rows([header, *(_stage_row(case, *item) for item in case.stages().items())])
    print("apart from inspections:")
    print_rows(
        ("", *(f"{value:.2f}" for value in (row.p50, row.max)), f"p50, max of {row.count}", name)
        for name, row in case.asides().items()
    )
    print_fact("rate", f"{measured.per_second:.2f} inspections a second")
    if (share := case.goodput()) is not None:
        inside = round(share * len(measured.trials))
        print_fact(
            "takt",
            f"{inside} of {len(measured.trials)} parts ({share:.1%}) within "
            f"{settings.takt_ms:g} ms",
        )
    _print_memory(case)
    _print_limits(case)
    _print_thermal(case)
    if case.notes:
        print_fact("notes", "\n".join(case.notes))


def _stage_row(case: CaseReport, name: str, row: Summary) -> tuple[str, ...]:
    limit = case.limits.stages.get(name) if case.limits else None
    tokens = case.tokens.get(name)
    words = ""
    if tokens is not None:
        words = f"{tokens.read} read"
        if tokens.written:
            words += f", {tokens.written:.0f} written"
        if tokens.written_per_second:
            words += f", {tokens.written_per_second:.0f}/s"
    return (
        name,
        *(f"{value:.2f}" for value in (row.p50, row.p90, row.p99, row.max)),
        "" if limit is None else f"{limit.least_ms:.2f}",
        "" if limit is None else f"{limit.reached:.1%}",
        words,
    )


def _print_memory(case: CaseReport) -> None:
    words = f"peak RSS {case.peak_rss_bytes / _MIB:.0f} MiB"
    if case.peak_device_bytes is not None:
        words += f", device at most {case.peak_device_bytes / _MIB:.0f} MiB in use by all programs"
    if case.lowest_free_bytes is not None:
        words += f", at least {case.lowest_free_bytes / _MIB:.0f} MiB of the machine free"
    print_fact("memory", words)


def _print_limits(case: CaseReport) -> None:
    if case.limits is None:
        return
    rates = case.limits.rates
    integers = "" if rates.integer_ops is None else f", int8 {rates.integer_ops / 1e9:.0f} Gop/s"
    print_fact(
        "machine",
        f"memory {rates.memory / 1e9:.1f} GB/s, float {rates.float_ops / 1e9:.0f} Gflop/s"
        f"{integers}, measured on {rates.provider} with {rates.threads} threads",
    )


def _print_thermal(case: CaseReport) -> None:
    thermal = case.thermal
    if thermal.power_mode is not None:
        print_fact("power mode", thermal.power_mode)
    for title, ranges, unit, scale in (
        ("heat", thermal.temperatures_c, "C", 1),
        ("power", thermal.power_mw, "W", 1000),
        ("clocks", thermal.clocks_mhz, "MHz", 1),
    ):
        if ranges:
            print_fact(
                title,
                "\n".join(
                    f"{name}: {it.first / scale:.1f} to {it.last / scale:.1f} {unit}, mean "
                    f"{it.mean / scale:.1f}, {it.lowest / scale:.1f} to {it.highest / scale:.1f}"
                    for name, it in ranges.items()
                ),
            )
    if thermal.energy_j is not None:
        each = thermal.energy_j / len(case.measurement.trials)
        print_fact("energy", f"{each:.2f} J an inspection, of {', '.join(thermal.energy_rails)}")
    if thermal.is_steady is not None:
        print_fact("steady", "yes" if thermal.is_steady else "no: measure longer, with --soak 30m")


def _print_comparison(cases: tuple[CaseReport, ...]) -> None:
    rows: list[tuple[str, ...]] = [
        ("all cases", "p50", "p90", "p99", "max", "per s", "in takt", "stable", "peak MiB")
    ]
    for case in cases:
        whole, share = case.stages()["inspection"], case.goodput()
        rows.append(
            (
                case_name(case, cases),
                *(f"{value:.2f}" for value in (whole.p50, whole.p90, whole.p99, whole.max)),
                f"{case.measurement.per_second:.2f}",
                "-" if share is None else f"{share:.1%}",
                "yes" if case.measurement.stability.is_stable else "NO",
                f"{case.peak_rss_bytes / _MIB:.0f}",
            )
        )
    print_rows(rows)
