"""Chat-AD from folders of data sets, step by step on one page, resumable behind a kill.

Knows neither the command line nor how a step does its work.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adcopilot_edge.errors import ConfigError, EdgeError
from adcopilot_edge.training.chat_ad import pair_steps, set_steps
from adcopilot_edge.training.chat_ad.counts import Counts
from adcopilot_edge.training.chat_ad.engines import open_engine
from adcopilot_edge.training.chat_ad.left_out import LeftOut
from adcopilot_edge.training.chat_ad.plan import CurationPlan
from adcopilot_edge.training.chat_ad.reading import read_sources
from adcopilot_edge.training.chat_ad.run import Run, refuse_leaks
from adcopilot_edge.training.chat_ad.source import SourceImage
from adcopilot_edge.training.chat_ad.work_folder import WorkFolder
from adcopilot_edge.types import OnStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Curated:
    """A finished set. left_out: number by (step, reason). teacher: what it did, if there is one."""

    folder: Path
    counts: Counts
    left_out: Counter[tuple[str, str]]
    teacher: dict[str, Any] | None = None
    is_resumed: bool = False


def curate_set(plan: CurationPlan, out: Path, *, report: OnStep) -> Curated:
    """Make a curated set in ``out``, which does not exist yet.

    Killed and started again with an equal plan, it goes on behind the files that are finished; the
    result is the same to the byte, whatever engine and number of workers.

    Raises:
        ConfigError: ``out`` exists or can't be written, or the plan can't be carried out.
        DatasetError: A source can't be used, nothing is left, or something leaks under ``strict``.
        MissingExtraError: The engine is not installed.
    """
    try:
        with (
            WorkFolder(out, plan.origin()) as work,
            open_engine(plan.engine, plan.workers) as engine,
        ):
            run = Run(plan, work, engine, report)
            pair_steps.read(run)
            pair_steps.look(run)
            pair_steps.match(run)
            pair_steps.mine(run)
            pair_steps.drop_repeats(run)
            set_steps.write_dialogues(run)
            taught = set_steps.ask_teacher(run)
            counts = set_steps.write_shards(run)
            set_steps.describe(run, counts)
            left_out = Counter[tuple[str, str]]((one.step, one.reason) for one in run.left_out())
            work.publish()
    except EdgeError:
        raise
    except OSError as err:
        raise ConfigError(
            f"{out} can't be written: {err}. Make room and start again: the run goes on where it is"
        ) from err
    return Curated(
        folder=out, counts=counts, left_out=left_out, teacher=taught, is_resumed=work.is_resumed
    )


def preview(plan: CurationPlan, *, report: OnStep) -> tuple[list[SourceImage], list[LeftOut]]:
    """What a curation would begin with: images, and what is left out by then. Opens no picture.

    Raises:
        DatasetError: A source can't be used, or a class leaks under ``strict``.
        ConfigError: The list of classes can't be used.
    """
    images, left_out = read_sources(plan, report)
    if plan.strict:
        refuse_leaks([one for one in left_out if one.step == "exclude"])
    return images, left_out
