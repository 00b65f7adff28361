"""A small curated set with a held-out split, for the tests of what is scored on dialogues."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from adcopilot_edge.training.chat_ad.sample import BOX_MARK, ChatSample, SampleTask, Turn
from adcopilot_edge.training.chat_ad.shard_writer import write_shard
from adcopilot_edge.training.chat_ad.shards import DATA_FOLDER, shard_name

SIDE = 56
_BOX = (14.0, 14.0, 42.0, 28.0)
# The question and the answer of each task; a second turn where there is one.
_TURNS: Mapping[SampleTask, tuple[str, ...]] = {
    "caption": ("Compare.", "There is a long scratch."),
    "dialogue": ("Is it good?", "No.", "Why?", "It is bent."),
    "choice": ("Which one?\nA. dent\nB. scratch", "B"),
    "locate": ("Where?", f'[{{"bbox_2d": {BOX_MARK}, "label": "scratch"}}]'),
}
ALL_TASKS: tuple[SampleTask, ...] = tuple(_TURNS)


def write_dialogues(
    folder: Path,
    splits: Mapping[str, int],
    *,
    tasks: tuple[SampleTask, ...] = ALL_TASKS,
    categories: int = 1,
) -> Path:
    """A set in ``folder``: of each split so many dialogues of each task, category by category.

    The first dialogue of each task is about a normal part. All splits hold the same.
    """
    (folder / DATA_FOLDER).mkdir(parents=True)
    pictures = [folder / f"{name}.png" for name in ("good", "bad")]
    for number, path in enumerate(pictures):
        Image.new("RGB", (SIDE, SIDE), (60 * number, 90, 30)).save(path)
    for split, count in splits.items():
        samples = [
            _sample(f"{category}-{number}-{task}", category, split, task, pictures, number > 0)
            for category in range(categories)
            for number in range(count)
            for task in tasks
        ]
        write_shard(folder / DATA_FOLDER / shard_name(split, 0, 1), samples, embed=True)
    return folder


def _sample(
    key: str, category: int, split: str, task: SampleTask, pictures: list[Path], is_anomaly: bool
) -> ChatSample:
    is_place = task == "locate" and is_anomaly
    words = _TURNS[task] if task != "locate" or is_anomaly else ("Where?", "[]")
    return ChatSample(
        key=key,
        pair=key,
        source="s",
        category=f"part {category}",
        split=split,
        task=task,
        template=pictures[0],
        query=pictures[1],
        query_size=(SIDE, SIDE),
        turns=tuple(
            Turn("assistant" if place % 2 else "user", text) for place, text in enumerate(words)
        ),
        is_anomaly=is_anomaly,
        bboxes=(_BOX,) if is_place else (),
        boxes=(_BOX,) if is_anomaly else (),
        labels=("scratch",) if is_anomaly else (),
        choice="B" if task == "choice" else None,
    )
