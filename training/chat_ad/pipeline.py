"""Chat-AD from folders of data sets, step by step on one page, resumable behind a kill.

Knows neither the command line nor how a step does its work.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adcopilot_edge.errors import ConfigError, EdgeError
from adcopilot_edge.training.chat_ad import pair_steps, set_steps
from adcopilot_edge.training.chat_ad.counts import Counts
from adcopilot_edge.training.chat_ad.engines import open_engine
from adcopilot_edge.training.chat_ad.left_out import LeftOut
from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.plan import CurationPlan
from adcopilot_edge.training.chat_ad.reading import read_sources
from adcopilot_edge.training.chat_ad.run import Run, refuse_leaks
from adcopilot_edge.training.chat_ad.source import SourceImage
from adcopilot_edge.training.chat_ad.work_folder import WorkFolder
from adcopilot_edge.types import OnStep

if TYPE_CHECKING:
    from adcopilot_edge.training.chat_ad.teacher.estimate import Estimate


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
            _make_pairs(run)
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
    refuse_leaks(plan, left_out)
    return images, left_out


def estimate_teacher(plan: CurationPlan, *, report: OnStep) -> Estimate | None:
    """What the plan's teacher would be sent, None without one; sends nothing.

    What a request holds depends on its pair, so all pairs are made, by processes of this machine
    whatever engine, in a folder that is removed again.

    Raises:
        ConfigError: The folder can't be written, or the plan can't be carried out.
        DatasetError: A source can't be used, nothing is left, or something leaks under ``strict``.
        InputError: A picture can't be read.
    """
    if plan.teacher is None:
        return None
    from adcopilot_edge.training.chat_ad.teacher.estimate import estimate

    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            WorkFolder(Path(folder) / "set", plan.origin()) as work,
            open_engine("local", plan.workers) as engine,
        ):
            run = Run(plan, work, engine, report)
            _make_pairs(run)
            return estimate(_told(list(run.read_parts("pairs", MinedPair)), report), plan.teacher)
    except OSError as err:
        raise ConfigError(
            f"the pairs can't be written below {tempfile.gettempdir()}: {err}; make room, or set "
            "TMPDIR to another folder"
        ) from err


def _make_pairs(run: Run) -> None:
    pair_steps.read(run)
    pair_steps.look(run)
    pair_steps.match(run)
    pair_steps.mine(run)
    pair_steps.drop_repeats(run)
    set_steps.check_split(run)


def _told(pairs: list[MinedPair], report: OnStep) -> Iterator[MinedPair]:
    """The pairs, each told when it is asked for."""
    for number, pair in enumerate(pairs):
        report("requests", number, len(pairs))
        yield pair
