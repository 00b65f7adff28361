"""The work of a curation that goes on in many processes: one file in, one file out.

Knows no engine and no order. Each function is found by other processes under its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.training.chat_ad.engines import Job
from adcopilot_edge.training.chat_ad.generate import generate
from adcopilot_edge.training.chat_ad.knowledge import load_knowledge
from adcopilot_edge.training.chat_ad.look_file import look_at_all, save_looks
from adcopilot_edge.training.chat_ad.match import Match
from adcopilot_edge.training.chat_ad.mine import mine_match
from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.sample import ChatSample
from adcopilot_edge.training.chat_ad.shard_writer import write_shard
from adcopilot_edge.training.chat_ad.stage_file import read_records, write_records


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to be looked at."""

    path: Path


def look_job(job: Job) -> None:
    """Pictures to looks."""
    save_looks(job.target, look_at_all([one.path for one in read_records(job.source, Picture)]))


def mine_job(job: Job) -> None:
    """Matches to pairs, and what of them can't be used; settings: knowledge, paths of files."""
    knowledge = load_knowledge([Path(path) for path in job.settings["knowledge"]])
    matches = read_records(job.source, Match)
    write_records(job.target, (mine_match(match, knowledge) for match in matches))


def dialogue_job(job: Job) -> None:
    """Pairs to samples; settings: tasks, per_pair, seed."""
    pairs = read_records(job.source, MinedPair)
    write_records(
        job.target, (sample for pair in pairs for sample in generate(pair, **job.settings))
    )


def shard_job(job: Job) -> None:
    """Samples to a shard; settings: embed."""
    write_shard(job.target, read_records(job.source, ChatSample), embed=job.settings["embed"])
