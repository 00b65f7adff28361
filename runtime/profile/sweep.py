"""The cases of a sweep: which bundles, with how many threads, callers, and which task.

Image size and precision are properties of a bundle, so a sweep over them chooses among the bundles
that are given; it changes none.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import get_args

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.embedded import embedded_bundle
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.manifest import Manifest
from adcopilot_edge.record import Precision
from adcopilot_edge.runtime.profile.report import CaseReport
from adcopilot_edge.runtime.profile.run import run_case
from adcopilot_edge.runtime.profile.settings import ProfileSettings
from adcopilot_edge.types import TASKS, OnStep

KEYS = ("image-size", "precision", "threads", "concurrency", "task")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Values to go through, by kind; empty where a kind stays as it is."""

    image_sizes: tuple[tuple[int, int], ...] = ()
    precisions: tuple[str, ...] = ()
    threads: tuple[int, ...] = ()
    concurrency: tuple[int, ...] = ()
    tasks: tuple[str, ...] = ()


def parse_sweep(words: Iterable[str]) -> Sweep:
    """A sweep of words like ``threads=1,2`` and ``image-size=224,448x560``.

    Raises:
        ConfigError: A key is unknown or given twice, or a value is none of its kind.
    """
    values: dict[str, list[str]] = {}
    for word in words:
        key, is_pair, rest = word.partition("=")
        if not is_pair or key not in KEYS:
            raise ConfigError(
                f"a sweep is written key=value,value with a key of {', '.join(KEYS)}, got {word!r}"
            )
        if key in values:
            raise ConfigError(f"--sweep {key} is given twice; put all values behind one")
        values[key] = [value.strip() for value in rest.split(",")]
    return Sweep(
        image_sizes=tuple(map(_parse_size, values.get("image-size", ()))),
        precisions=_choose("precision", values, get_args(Precision)),
        threads=_parse_counts("threads", values),
        concurrency=_parse_counts("concurrency", values),
        tasks=_choose("task", values, (*TASKS, "all")),
    )


def plan_cases(
    bundles: Sequence[Path], sweep: Sweep, settings: ProfileSettings
) -> list[ProfileSettings]:
    """The settings of each case: every bundle that the sweep asks for, with every other value.

    Args:
        bundles: Folders; none is the embedded bundle.
        sweep: The values.
        settings: What all cases share.

    Raises:
        ConfigError: No bundle has a size or a precision that the sweep asks for.
        BundleError: A bundle can't be used.
    """
    folders: Sequence[Path | None] = [*bundles] or [None]
    manifests = {
        folder: open_bundle(folder or embedded_bundle(), verify=False).manifest
        for folder in folders
    }
    _check_present(sweep, list(manifests.values()))
    chosen = [
        folder
        for folder, manifest in manifests.items()
        if (not sweep.image_sizes or _size(manifest) in sweep.image_sizes)
        and (not sweep.precisions or _precision(manifest) in sweep.precisions)
    ]
    if not chosen:
        raise ConfigError(
            "no bundle has both a size and a precision of the sweep; the bundles are "
            + ", ".join(_describe(manifest) for manifest in manifests.values())
        )
    return [
        replace(settings, bundle=folder, threads=threads, concurrency=concurrency, task=task)
        for folder, threads, concurrency, task in product(
            chosen,
            sweep.threads or (settings.threads,),
            sweep.concurrency or (settings.concurrency,),
            sweep.tasks or (settings.task,),
        )
    ]


def run_cases(
    cases: Sequence[ProfileSettings], *, on_step: OnStep | None = None
) -> Iterator[CaseReport]:
    """Profile each case; of several, each in a new process.

    So that no case has another one's memory, caches or threads.

    Args:
        cases: At least one.
        on_step: Gets the steps of a single case, or the number of the case.

    Raises:
        EdgeError: As ``run_case``.
    """
    if len(cases) == 1:
        yield run_case(cases[0], on_step=on_step)
        return
    for number, case in enumerate(cases):
        if on_step is not None:
            on_step("case", number, len(cases))
        yield _in_new_process(run_case, case)
    if on_step is not None:
        on_step("case", len(cases), len(cases))


def case_name(report: CaseReport, others: Sequence[CaseReport]) -> str:
    """What tells a case from the others: its bundle and the values that differ among them."""
    settings = report.settings
    parts = ["embedded" if settings.bundle is None else settings.bundle.name]
    for name, value in (
        ("threads", settings.threads),
        ("concurrency", settings.concurrency),
        ("task", settings.task),
    ):
        if len({getattr(other.settings, name) for other in others}) > 1:
            parts.append(f"{name} {'auto' if value is None else value}")
    return ", ".join(parts)


def _in_new_process(
    work: Callable[[ProfileSettings], CaseReport], case: ProfileSettings
) -> CaseReport:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, case).result()


def _check_present(sweep: Sweep, manifests: Sequence[Manifest]) -> None:
    """Raise ConfigError with the export's command for what no bundle has."""
    have = ", ".join(_describe(manifest) for manifest in manifests)
    sizes = {_size(manifest) for manifest in manifests}
    for height, width in sweep.image_sizes:
        if (height, width) not in sizes:
            size = str(height) if height == width else f"{height}x{width}"
            raise ConfigError(
                f"none of the bundles has the image size {height}x{width}; there are {have}. The "
                "size is fixed at the export, so make a bundle of it and name it too: "
                f"adcopilot-edge export CHECKPOINT --image-size {size} --out BUNDLE"
            )
    for precision in sweep.precisions:
        if precision not in {_precision(manifest) for manifest in manifests}:
            flag = "--int8" if precision == "int4" else f"--{precision}"
            raise ConfigError(
                f"none of the bundles has a vision side in {precision}; there are {have}. The "
                "precision is fixed at the export, so make a bundle of it and name it too: "
                f"adcopilot-edge export CHECKPOINT {flag} --out BUNDLE"
            )


def _describe(manifest: Manifest) -> str:
    height, width = _size(manifest)
    return f"{height}x{width} {_precision(manifest)}"


def _size(manifest: Manifest) -> tuple[int, int]:
    return manifest.model.image_height, manifest.model.image_width


def _precision(manifest: Manifest) -> str:
    """That of the vision side, which the export's flags choose."""
    return manifest.graphs["vision"].precision


def _parse_size(text: str) -> tuple[int, int]:
    height, is_pair, width = text.partition("x")
    sides = (height, width) if is_pair else (height, height)
    if not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ConfigError(f"an image size is written 448, or height x width as 448x560: {text!r}")
    return int(sides[0]), int(sides[1])


def _parse_counts(key: str, values: dict[str, list[str]]) -> tuple[int, ...]:
    for text in (texts := values.get(key, [])):
        if not text.isdecimal() or int(text) < 1:
            raise ConfigError(f"--sweep {key} takes numbers of at least 1, got {text!r}")
    return tuple(int(text) for text in texts)


def _choose(key: str, values: dict[str, list[str]], known: Sequence[str]) -> tuple[str, ...]:
    for text in (texts := values.get(key, [])):
        if text not in known:
            raise ConfigError(f"--sweep {key} takes {', '.join(known)}, got {text!r}")
    return tuple(texts)
