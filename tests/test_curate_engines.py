"""Jobs by processes of this machine and by Ray: each done once, failures told, nothing twice."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from adcopilot_edge.errors import DatasetError, MissingExtraError
from adcopilot_edge.training.chat_ad.engines import Job, open_engine, run_jobs


def double(job: Job) -> None:
    """A number to its double, and which process did it."""
    number = int(job.source.read_text())
    if number == job.settings.get("bad"):
        raise DatasetError(f"{number} is not wanted")
    job.target.write_text(f"{2 * number} {os.getpid()}")


def write_jobs(folder: Path, count: int, **settings: int) -> list[Job]:
    jobs = []
    for number in range(count):
        source = folder / f"{number}.in"
        source.write_text(str(number))
        jobs.append(Job(source, folder / f"{number}.out", dict(settings)))
    return jobs


def results(jobs: list[Job]) -> list[tuple[int, int]]:
    done = (job.target.read_text().split() for job in jobs)
    return [(int(number), int(process)) for number, process in done]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_and_told(tmp_path: Path, workers: int) -> None:
    jobs = write_jobs(tmp_path, 5)
    told: list[tuple[str, int, int]] = []
    with open_engine("local", workers) as engine:
        run_jobs(engine, double, jobs, step="doubling", report=lambda *one: told.append(one))
    assert [number for number, _ in results(jobs)] == [0, 2, 4, 6, 8]
    assert (told[0], told[-1]) == (("doubling", 0, 5), ("doubling", 5, 5))
    processes = {process for _, process in results(jobs)}
    assert processes == {os.getpid()} if workers == 1 else os.getpid() not in processes


def test_jobs_that_are_done_are_left_alone(tmp_path: Path) -> None:
    jobs = write_jobs(tmp_path, 3)
    jobs[1].target.write_text("7 0")
    with open_engine("local", 1) as engine:
        for _ in range(2):
            run_jobs(engine, double, jobs, step="", report=lambda *_: None)
    assert [number for number, _ in results(jobs)] == [0, 7, 4]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_that_fails_is_told_and_the_others_are_done(tmp_path: Path, workers: int) -> None:
    jobs = write_jobs(tmp_path, 4, bad=1)
    with (
        open_engine("local", workers) as engine,
        pytest.raises(DatasetError, match="1 is not wanted"),
    ):
        run_jobs(engine, double, jobs, step="", report=lambda *_: None)
    assert [job.target.exists() for job in jobs] == [True, False, True, True]


def test_an_engine_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"adcopilot-edge\[ray\]"), open_engine("ray", 1):
        pass
