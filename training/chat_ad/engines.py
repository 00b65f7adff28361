"""Who does the parts of a step: processes of this machine through ``datasets``, or Ray Data.

Knows no step. A job reads a file and writes one, so that both engines give the same bytes, and a
job whose file is there is done: a run that was killed goes on behind it. With Ray on several
machines the folders must be the same on all of them.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from adcopilot_edge.errors import DatasetError, EdgeError, MissingExtraError
from adcopilot_edge.types import OnStep

EngineName = Literal["local", "ray"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
_STORE_BYTES = 128 * 1024 * 1024  # jobs are names of files: Ray's store holds next to nothing
_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Job:
    """A part of a step.

    source: the file it reads. target: the file it writes, whole or not at all. settings: plain
    values for the function.
    """

    source: Path
    target: Path
    settings: dict[str, Any] = field(default_factory=dict)


Work = Callable[[Job], None]
"""A function of a module, so that other processes find it; raises EdgeError for a person."""


class Engine(Protocol):
    """Does jobs in whatever order; gives what went wrong with each in words, "" for nothing."""

    def __call__(self, work: Work, jobs: Sequence[Job]) -> list[str]:
        """Do the jobs, all of them, also where some fail."""
        ...


@contextmanager
def open_engine(name: EngineName, workers: int) -> Iterator[Engine]:
    """An engine for as long as the block runs.

    Args:
        name: Which one.
        workers: Processes; a Ray cluster, which RAY_ADDRESS names, has as many as it has.

    Raises:
        MissingExtraError: Its package is not installed.
    """
    package, extra = ("ray", "ray") if name == "ray" else ("datasets", "curate")
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(feature=f"--engine {name}", extra=extra, package=package)
    if name == "local":
        yield lambda work, jobs: _run_local(work, jobs, workers)
    else:
        with _ray_instance(workers):
            yield _run_ray


def run_jobs(engine: Engine, work: Work, jobs: Sequence[Job], *, step: str, report: OnStep) -> None:
    """Do all jobs whose files are not there yet.

    Raises:
        DatasetError: A job failed; the others were done.
    """
    open_jobs = [job for job in jobs if not job.target.exists()]
    if not open_jobs:
        return
    with _telling(jobs, step, report):
        failures = [error for error in engine(work, open_jobs) if error]
    if failures:
        more = f" ({len(failures) - 1} more parts failed)" if len(failures) > 1 else ""
        raise DatasetError(f"{failures[0]}{more}")


def _run_local(work: Work, jobs: Sequence[Job], workers: int) -> list[str]:
    """``datasets``' map; one worker needs no process of its own."""
    import datasets

    rows = datasets.Dataset.from_list([{"number": number} for number in range(len(jobs))])
    was_quiet = datasets.utils.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        done = rows.map(
            lambda row: {"error": _do(work, jobs[row["number"]])},
            num_proc=min(workers, len(jobs)) if workers > 1 else None,
            new_fingerprint=os.urandom(8).hex(),  # nothing is to be found in a cache
            keep_in_memory=True,
        )
    finally:
        if not was_quiet:
            datasets.enable_progress_bars()
    return list(done["error"])


def _run_ray(work: Work, jobs: Sequence[Job]) -> list[str]:
    """Ray Data, a block for each job."""
    import ray.data

    items = [{"number": number} for number in range(len(jobs))]
    done = ray.data.from_items(items, override_num_blocks=len(items)).map(
        lambda row: {"error": _do(work, jobs[row["number"]])}
    )
    return [row["error"] for row in done.iter_rows()]


@contextmanager
def _ray_instance(workers: int) -> Iterator[None]:
    """Ray as it runs already, or an instance of this machine that ends with the block."""
    import ray
    import ray.data

    context = ray.data.DataContext.get_current()
    was_shown, context.enable_progress_bars = context.enable_progress_bars, False
    logger = logging.getLogger("ray.data")
    level = logger.level
    is_ours = not ray.is_initialized()
    if is_ours:
        is_cluster = bool(os.environ.get("RAY_ADDRESS"))
        ray.init(
            num_cpus=None if is_cluster else workers,
            object_store_memory=None if is_cluster else _STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        context.enable_progress_bars = was_shown
        if is_ours:
            ray.shutdown()


def _do(work: Work, job: Job) -> str:
    """Do a job; what a person must know comes back in words, since not every error travels."""
    try:
        work(job)
    except EdgeError as err:
        return str(err)
    except OSError as err:
        return f"{job.target} can't be written: {err}; make room or choose another --out"
    return ""


@contextmanager
def _telling(jobs: Sequence[Job], step: str, report: OnStep) -> Iterator[None]:
    """Report how many files are there, twice a second, while the block runs."""
    over = threading.Event()

    def tell() -> None:
        report(step, sum(job.target.exists() for job in jobs), len(jobs))

    def watch() -> None:
        while not over.wait(_POLL_S):
            tell()

    tell()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        tell()
