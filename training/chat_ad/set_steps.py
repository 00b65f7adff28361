"""The second half of a curation: from pairs to dialogues, shards, the card and the sheet.

Knows no data set. Each step leaves files and finds those of a run that was killed.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.card import CardFacts, write_card
from adcopilot_edge.training.chat_ad.counts import Counts
from adcopilot_edge.training.chat_ad.engines import Job
from adcopilot_edge.training.chat_ad.jobs import dialogue_job, shard_job
from adcopilot_edge.training.chat_ad.left_out import LeftOut
from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.run import Run
from adcopilot_edge.training.chat_ad.sample import ChatSample
from adcopilot_edge.training.chat_ad.shards import DATA_FOLDER, ShardSet, find_shards, shard_name
from adcopilot_edge.training.chat_ad.sheet import choose_samples, draw_sheet
from adcopilot_edge.training.chat_ad.splitting import held_out_categories, held_out_pairs
from adcopilot_edge.training.chat_ad.stage_file import write_records

TRAIN, VALIDATION = "train", "validation"
_SHARD_ROWS = 100_000
_SHEET_SAMPLES = 16


def check_split(run: Run) -> None:
    """Find out whether the pairs can be split, before anything is written about them.

    Raises:
        ConfigError: There is nothing to split by.
    """
    _splitter(run, run.read_parts("pairs", MinedPair))


def write_dialogues(run: Run) -> None:
    """Write the dialogues of all pairs."""
    plan = run.plan
    run.do(
        dialogue_job,
        "pairs",
        "samples",
        step="dialogues",
        tasks=list(plan.tasks),
        per_pair=plan.per_pair,
        seed=plan.seed,
    )


def ask_teacher(run: Run) -> dict[str, Any] | None:
    """Have a teacher write dialogues too; its own cache knows what was answered before a kill.

    Returns:
        What the teacher did, None without one.

    Raises:
        EdgeError: The teacher stops; what it wrote before is kept, and a new run goes on.
    """
    settings = run.plan.teacher
    if settings is None:
        return None
    place = run.work.path / "teacher.json"
    if not run.work.is_done("teacher"):
        from adcopilot_edge.training.chat_ad.teacher.report import TeachReport
        from adcopilot_edge.training.chat_ad.teacher.teach import teach_all

        run.clear("taught")
        told = TeachReport()
        pairs = run.read_parts("pairs", MinedPair)
        taught = list(teach_all(pairs, settings, report=told, on_step=run.report))
        run.write_parts("taught", taught)
        run.tell(
            "4-teacher",
            [
                LeftOut(what=settings.model, source="", step="teacher", reason=code, detail="")
                for code, number in sorted(told.failures.items())
                for _ in range(number)
            ],
        )
        with atomic_write(place) as file:
            file.write(json.dumps(told.to_json()).encode())
        run.work.finish("teacher")
    report: dict[str, Any] = json.loads(place.read_bytes())
    return report


def write_shards(run: Run) -> Counts:
    """Split the samples, write the shards, and count what is in them.

    Raises:
        DatasetError: There is no sample, or a picture can't be read.
        ConfigError: There is nothing to split by.
    """
    counts = Counts()
    pairs = [pair for pair, _ in _by_pair(run)]
    if not pairs:
        raise DatasetError("no dialogue could be written about any pair; see left_out of --json")
    split_of = _splitter(run, pairs)
    _drop_other_shards(run)
    rows = run.work.folder("rows")
    writers = {split: _RowFiles(run, split, rows) for split in (TRAIN, VALIDATION)}
    for pair, samples in _by_pair(run):
        split = split_of(pair)
        counts.add(split, samples)
        writers[split].add(samples)
    data = run.work.set_folder / DATA_FOLDER
    data.mkdir(exist_ok=True)
    jobs = []
    for split, writer in writers.items():
        paths = writer.close()
        for number, path in enumerate(paths):
            target = data / shard_name(split, number, len(paths))
            jobs.append(Job(path, target, {"embed": run.plan.embed}))
    run.do_jobs(shard_job, jobs, step="shards")
    return counts


def describe(run: Run, counts: Counts) -> None:
    """Write the card, the sheet, the counts and what was left out beside the shards."""
    plan, folder = run.plan, run.work.set_folder
    left_out = run.left_out()
    splits = find_shards(folder)
    facts = CardFacts(
        name=plan.name,
        splits=list(splits),
        licences=plan.licences,
        left_out=Counter((one.step, one.reason) for one in left_out),
        settings=_settings(run),
        embeds=plan.embed,
        split_rule=_split_rule(run),
    )
    write_records(folder / "left_out.jsonl", left_out)
    for name, text in (
        ("README.md", write_card(facts, counts)),
        ("counts.json", json.dumps(counts.to_json(), indent=2) + "\n"),
    ):
        with atomic_write(folder / name) as file:
            file.write(text.encode())
    shown = choose_samples([ShardSet(paths) for paths in splits.values()], _SHEET_SAMPLES)
    with atomic_write(folder / "sheet.png") as file:
        draw_sheet(shown).save(file, format="PNG")


def _by_pair(run: Run) -> Iterator[tuple[MinedPair, list[ChatSample]]]:
    """Each pair with its samples, the generated ones before the teacher's."""
    written = _grouped(run.read_parts("samples", ChatSample))
    taught = _grouped(run.read_parts("taught", ChatSample))
    ahead = [next(written, None), next(taught, None)]
    for pair in run.read_parts("pairs", MinedPair):
        samples: list[ChatSample] = []
        for place, stream in enumerate((written, taught)):
            head = ahead[place]
            if head is not None and head[0] == pair.key:
                samples += head[1]
                ahead[place] = next(stream, None)
        if samples:
            yield pair, samples


def _grouped(samples: Iterable[ChatSample]) -> Iterator[tuple[str, list[ChatSample]]]:
    for pair, group in groupby(samples, key=lambda sample: sample.pair):
        yield pair, list(group)


def _splitter(run: Run, pairs: Iterable[MinedPair]) -> Callable[[MinedPair], str]:
    """Which split a pair goes to, where ``pairs`` are all that there are."""
    plan = run.plan
    if not plan.validation:
        return lambda _: TRAIN
    if plan.split_by == "pair":
        keys = held_out_pairs((one.key for one in pairs), share=plan.validation, seed=plan.seed)
        return lambda pair: VALIDATION if pair.key in keys else TRAIN
    sizes = Counter((pair.source, pair.category) for pair in pairs)
    held_out = held_out_categories(sizes, share=plan.validation, seed=plan.seed)
    return lambda pair: VALIDATION if (pair.source, pair.category) in held_out else TRAIN


def _drop_other_shards(run: Run) -> None:
    """Remove what a stopped run wrote of the shards of another split."""
    rule = json.dumps([run.plan.validation, run.plan.split_by]).encode()
    place = run.work.path / "split.json"
    if not place.exists() or place.read_bytes() != rule:
        shutil.rmtree(run.work.set_folder)
        with atomic_write(place) as file:
            file.write(rule)


class _RowFiles:
    """The samples of a split as files, one for each shard that is to be."""

    def __init__(self, run: Run, split: str, folder: Path) -> None:
        self._plan = run.plan
        self._split = split
        self._folder = folder
        self._samples: list[ChatSample] = []
        self._pictures: set[Path] = set()
        self._size = 0
        self._paths: list[Path] = []

    def add(self, samples: Iterable[ChatSample]) -> None:
        """Take in the samples of a pair."""
        if self._size >= self._plan.shard_bytes or len(self._samples) >= _SHARD_ROWS:
            self._flush()
        for sample in samples:
            self._samples.append(sample)
            for path in (sample.template, sample.query):
                if self._plan.embed and path not in self._pictures:
                    self._pictures.add(path)
                    self._size += path.stat().st_size

    def close(self) -> list[Path]:
        """Write what is left; all files in order."""
        if self._samples:
            self._flush()
        return self._paths

    def _flush(self) -> None:
        path = self._folder / f"{self._split}-{len(self._paths):05d}.jsonl"
        write_records(path, self._samples)
        self._paths.append(path)
        self._samples, self._size = [], 0
        self._pictures.clear()


def _settings(run: Run) -> dict[str, str]:
    """How the set was made, without folders of this machine."""
    plan = run.plan
    duplicates = "kept" if plan.duplicate_bits is None else f"up to {plan.duplicate_bits} of 256"
    return {
        "sources": ", ".join(plan.roots()),
        "tasks": ", ".join(plan.tasks),
        "dialogues of a task and pair": str(plan.per_pair),
        "seed": str(plan.seed),
        "images of a category": "all" if plan.limit is None else f"at most {plan.limit}",
        "bits by which a duplicate differs": duplicates,
        "excluded classes": plan.exclude_classes or "none",
        "compared with evaluated images": "yes" if plan.exclude_images else "no",
        "teacher": plan.teacher.model if plan.teacher else "none",
    }


def _split_rule(run: Run) -> str:
    plan = run.plan
    if not plan.validation:
        return "Nothing is held out: all of it is one split."
    if plan.split_by == "pair":
        return (
            "Held out for validation are single pairs, chosen by a hash of their names. Parts of "
            "the same category, and templates, are on both sides: a figure on them says nothing "
            "about a new product."
        )
    return (
        "Held out for validation are whole categories, chosen by a hash of their names, so that "
        "no template and no part of them is in the other split."
    )
