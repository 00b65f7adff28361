"""What every step of a curation works with: the plan, the folder, files in parts, and jobs on them.

Knows no step.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.engines import Engine, Job, Work, run_jobs
from adcopilot_edge.training.chat_ad.left_out import STEPS, LeftOut
from adcopilot_edge.training.chat_ad.plan import CurationPlan
from adcopilot_edge.training.chat_ad.stage_file import cut, read_records, write_records
from adcopilot_edge.training.chat_ad.work_folder import WorkFolder
from adcopilot_edge.types import OnStep

T = TypeVar("T")
_PART = 256  # records in a file, and so in a job
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Run:
    """A curation on its way. engine: does its jobs. report: is told of progress."""

    plan: CurationPlan
    work: WorkFolder
    engine: Engine
    report: OnStep

    def parts(self, folder: str) -> list[Path]:
        """The files of a folder of this run, in order."""
        return sorted(self.work.folder(folder).glob("[0-9]*"))

    def clear(self, folder: str) -> None:
        """Remove what a killed run left of a step that is not finished."""
        shutil.rmtree(self.work.folder(folder))

    def write_parts(self, folder: str, records: Sequence[Any]) -> None:
        """Write records in files behind those that the folder has."""
        start = len(self.parts(folder))
        for number, part in enumerate(cut(records, _PART), start=start):
            write_records(self.work.folder(folder) / f"{number:06d}.jsonl", part)

    def read_parts(self, folder: str, kind: type[T]) -> Iterator[T]:
        """The records of a folder in order."""
        for path in self.parts(folder):
            yield from read_records(path, kind)

    def do(self, work: Work, source: str, target: str, *, step: str, **settings: Any) -> None:
        """Do a job for each file of ``source``, which writes a file of the same name.

        Raises:
            DatasetError: A job failed.
        """
        folder = self.work.folder(target)
        jobs = [Job(path, folder / path.name, settings) for path in self.parts(source)]
        self.do_jobs(work, jobs, step=step)

    def do_jobs(self, work: Work, jobs: Sequence[Job], *, step: str) -> None:
        """Do jobs by the plan's engine.

        Raises:
            DatasetError: A job failed.
        """
        run_jobs(self.engine, work, jobs, step=step, report=self.report)

    def tell(self, name: str, left_out: Iterable[LeftOut]) -> None:
        """Keep what was left out, under a name of its own; names are in the order of the work."""
        write_records(self.work.folder("left_out") / f"{name}.jsonl", left_out)

    def left_out(self) -> list[LeftOut]:
        """All that was told so far, by step, in the order of the work."""
        found = [
            one
            for path in sorted(self.work.folder("left_out").glob("*.jsonl"))
            for one in read_records(path, LeftOut)
        ]
        return sorted(found, key=lambda one: STEPS.index(one.step))


def refuse_leaks(plan: CurationPlan, left_out: Iterable[LeftOut]) -> None:
    """Raise DatasetError where the plan is strict and something leaks, and say what."""
    leaks = [one for one in left_out if one.step == "exclude"]
    if not plan.strict or not leaks:
        return
    named = "; ".join(f"{one.what} ({one.reason}: {one.detail})" for one in leaks[:_MOST_NAMED])
    more = f"; and {len(leaks) - _MOST_NAMED} more" if len(leaks) > _MOST_NAMED else ""
    raise DatasetError(
        f"{len(leaks)} images are evaluated on: {named}{more}. Take them out of the sources "
        "and start anew, without the folder of an unfinished run, or leave --strict away to have "
        "them left out"
    )
