"""What ``doctor --tune`` does and prints, and how settings look. Not a verb of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adcopilot_edge.commands.printing import print_fact, print_json, print_rows
from adcopilot_edge.commands.progress import StepProgress

if TYPE_CHECKING:
    from adcopilot_edge.bundle import Bundle
    from adcopilot_edge.runtime.profile.tune import Comparison, Tuning
    from adcopilot_edge.runtime.thread_state import Machine, ThreadState
    from adcopilot_edge.runtime.threads import ThreadSettings

_STEPS = 8  # tokens of an answer: enough for the time of one


def tune_threads(
    path: Path | None, out: Path | None, *, max_time: str, dry_run: bool, as_json: bool
) -> None:
    """Measure a bundle under each setting, and store the fastest; exits with 1 if it can't tell."""
    from adcopilot_edge.bundle import open_bundle
    from adcopilot_edge.embedded import embedded_bundle
    from adcopilot_edge.runtime.profile.settings import parse_duration
    from adcopilot_edge.runtime.profile.tune import candidate_settings, tune
    from adcopilot_edge.runtime.thread_store import THREADS, state_path, this_machine

    max_time_s = parse_duration(max_time)
    bundle = open_bundle(path or embedded_bundle())
    machine = this_machine()
    candidates = candidate_settings()
    target = out or state_path(bundle, machine)
    if dry_run:
        _list(bundle, machine, candidates, target, as_json=as_json)
        return
    THREADS.check_writable(target)  # before a minute of measuring
    _check_memory(bundle)
    with StepProgress() as progress:
        tuning = tune(candidates, _opener(bundle), max_time_s=max_time_s, on_step=progress)
    state = _state(bundle, machine, tuning) if tuning.is_conclusive else None
    if state is not None:
        THREADS.write(target, state)
        print(f"wrote {target}", file=sys.stderr)
    if as_json:
        print_json(
            {
                "stored": state and str(target),
                "state": state and state.to_json(),
                "default_chosen": tuning.is_default,
                "reason": tuning.reason,
                "control": tuning.control.to_json(),
                "candidates": [row.to_json() for row in tuning.candidates],
                "confirmed": tuning.confirmed and tuning.confirmed.to_json(),
            }
        )
    else:
        _print_tuning(bundle, machine, tuning)
    if state is None:
        raise typer.Exit(1)


def _opener(bundle: Bundle) -> Any:
    """What opens the bundle under some settings, ready for trials with the sample pictures."""
    from adcopilot_edge.runtime.profile.settings import ProfileSettings, find_pictures
    from adcopilot_edge.runtime.profile.subject import Subject

    golden, tests = find_pictures(None, None)

    def open_run(settings: ThreadSettings) -> Any:
        case = ProfileSettings(
            bundle=bundle.path,
            golden=golden,
            tests=tests,
            task="describe",
            threads=settings,
            max_new_tokens=_STEPS,
        )
        return Subject(case, verify=False).inspect

    return open_run


def _check_memory(bundle: Bundle) -> None:
    """Raise ConfigError where the bundle can't be open twice."""
    from adcopilot_edge.errors import ConfigError
    from adcopilot_edge.runtime.memory import free_bytes

    needed = 2 * sum(entry.size_bytes for entry in bundle.manifest.files.values())
    free = free_bytes()
    if free is not None and free < needed:
        raise ConfigError(
            f"settings are compared with the bundle open twice, which takes at least "
            f"{needed >> 20} MiB, and {free >> 20} MiB are free. Compare one after the other with: "
            f"adcopilot-edge profile {bundle.path} --sweep threads=1,2"
        )


def _state(bundle: Bundle, machine: Machine, tuning: Tuning) -> ThreadState:
    from datetime import datetime, timezone

    import adcopilot_edge
    from adcopilot_edge.runtime.thread_state import ThreadState

    chosen, is_default = tuning.chosen, tuning.is_default
    row = tuning.confirmed or tuning.control
    default_ms = row.default_ms["verdict"]
    return ThreadState(
        created_by=f"adcopilot-edge {adcopilot_edge.__version__}",
        created_at=datetime.now(timezone.utc).replace(microsecond=0),
        bundle=bundle.id,
        machine=machine,
        num_threads=chosen.num_threads,
        spins=chosen.spins,
        cores=chosen.cores,
        verdict_ms=default_ms if is_default else row.figures_ms["verdict"],
        default_ms=default_ms,
        ratio=1.0 if is_default else row.ratio,
        ratio_interval=(1.0, 1.0) if is_default or row.interval is None else row.interval,
        num_rounds=row.num_rounds,
    )


def _list(
    bundle: Bundle,
    machine: Machine,
    candidates: list[ThreadSettings],
    target: Path,
    *,
    as_json: bool,
) -> None:
    """What would be measured."""
    if as_json:
        print_json(
            {
                "bundle": bundle.id,
                "machine": machine.model_dump(mode="json"),
                "candidates": [
                    {"num_threads": it.num_threads, "spins": it.spins, "cores": list(it.cores)}
                    for it in candidates
                ],
                "would_store": str(target),
            }
        )
        return
    print_fact("bundle", bundle.id)
    print_fact("machine", machine.words())
    print_fact("candidates", "\n".join(settings.words() for settings in candidates))
    print_fact("to store", str(target))


def _print_tuning(bundle: Bundle, machine: Machine, tuning: Tuning) -> None:
    print_fact("bundle", bundle.id)
    print_fact("machine", machine.words())
    names = tuple(tuning.candidates[0].figures_ms)
    rows = [("median ms", *names, "by default", "ratio", "95 %", "rounds")]
    _, *figures = _row(tuning.control, names)
    rows.append(("the default, twice", *figures))
    rows += [_row(row, names) for row in tuning.candidates]
    if tuning.confirmed is not None:
        name, *figures = _row(tuning.confirmed, names)
        rows.append((f"again: {name}", *figures))
    print_rows(rows)
    what = "the default, onnxruntime's choice" if tuning.is_default else tuning.chosen.words()
    if not tuning.is_conclusive:
        what = "nothing, and nothing is stored"
    print_fact("chosen", f"{what}: {tuning.reason}")


def _row(row: Comparison, names: tuple[str, ...]) -> tuple[str, ...]:
    figures = (f"{row.figures_ms[name]:.2f}" if name in row.figures_ms else "-" for name in names)
    interval = "-" if row.interval is None else f"{row.interval[0]:.3f}-{row.interval[1]:.3f}"
    return (
        row.settings.words(),
        *figures,
        f"{row.default_ms['verdict']:.2f}",
        f"{row.ratio:.3f}",
        interval,
        str(row.num_rounds),
    )
