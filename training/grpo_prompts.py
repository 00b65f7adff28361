"""Questions whose answers can be checked: about Chat-AD's samples, and about pairs made on the way.

Gives rows as trl's GRPOTrainer takes them: messages, two pictures, and the truth for the rewards.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from datasets import Dataset
from PIL import Image

from adcopilot_edge.errors import ConfigError, DatasetError
from adcopilot_edge.prompt import DEFAULT_PROMPT, END_OF_TURN
from adcopilot_edge.training.chat_ad.sample import ChatSample, SampleTask, Turn, fill_boxes
from adcopilot_edge.training.chat_ad.shards import StoredSample
from adcopilot_edge.training.conversation import chat_messages
from adcopilot_edge.training.image_rule import ImageRule
from adcopilot_edge.training.pair_source import PairSource
from adcopilot_edge.training.rewards import Truth
from adcopilot_edge.training.tasks import exchanges
from adcopilot_edge.training.thinking import ThinkingTags, asked
from adcopilot_edge.types import BBox, ImageArray, LabelledPair, Task

CHECKABLE: tuple[Task, ...] = ("verdict", "locate")
"""The tasks about pairs that have one right answer: a letter, and boxes."""

CHECKABLE_DIALOGUES: tuple[SampleTask, ...] = ("choice", "locate")
"""The tasks of Chat-AD whose last answer may be right or wrong."""

_MOST_TRIES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One question: messages with two places for images, the images as the model sees them."""

    key: str
    messages: list[dict[str, Any]]
    images: tuple[Image.Image, Image.Image]
    truth: Truth


class Prompts(Protocol):
    """A fixed number of prompts, each known by its place; the same in every run."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int) -> Prompt: ...


class PairPrompts:
    """Prompt i asks one of ``tasks`` about pair ``first + i`` of a source.

    is_masked: hold places against the pixels of the defects, not their boxes, where they are known.
    """

    def __init__(
        self,
        source: PairSource,
        *,
        count: int,
        size: int,
        tasks: Sequence[Task] = CHECKABLE,
        tags: ThinkingTags | None = None,
        is_masked: bool = False,
    ) -> None:
        if not tasks or not set(tasks) <= set(CHECKABLE):
            raise ConfigError(f"only {' and '.join(CHECKABLE)} can be checked, got {list(tasks)}")
        self._source, self._count, self._size = source, count, size
        self._tasks, self._tags, self._is_masked = tuple(tasks), tags, is_masked

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: int) -> Prompt:
        pair = self._pair(place)
        rng = random.Random(place)
        # Nobody knows where the defect is, so no answer about its place is right or wrong.
        task = rng.choice(self._tasks) if not pair.is_unplaced else "verdict"
        (exchange,) = (item for item in exchanges(pair, rng) if item.task == task)
        before, behind = DEFAULT_PROMPT.question.split("{question}")
        words = exchange.question.removeprefix(before).removesuffix(behind)
        height, width = pair.test.shape[:2]
        return Prompt(
            key=f"{pair.name}:{task}",
            messages=chat_messages([Turn("user", asked(words, self._tags))]),
            images=(Image.fromarray(pair.golden), Image.fromarray(pair.test)),
            truth=Truth(
                kind="choice" if task == "verdict" else "boxes" if pair.boxes else "normal",
                height=height,
                width=width,
                choice=exchange.answer.removesuffix(END_OF_TURN) if task == "verdict" else None,
                boxes=pair.boxes,
                mask=pair.mask if self._is_masked and pair.boxes else None,
            ),
        )

    def _pair(self, place: int) -> LabelledPair:
        """Pair ``place``, or where it can't be asked about one further on."""
        for number in range(place, place + _MOST_TRIES * self._count, self._count):
            pair = self._source.pair(number, size=self._size)
            if not pair.is_unplaced or "verdict" in self._tasks:
                return pair
        raise DatasetError(
            f"of {_MOST_TRIES} parts nobody knows where the defect is; add boxes or masks, or ask "
            "for verdicts too"
        )


class ChatPrompts:
    """The last question of every sample of the tasks ``choice`` and ``locate``.

    A normal part's places are an empty list. Samples whose defects have no place are left out of
    ``locate``. rule: the sizes that images get and boxes are scaled to. tasks: which of the two.
    count: the first ones, at most.
    """

    def __init__(
        self,
        samples: Sequence[StoredSample],
        rule: ImageRule,
        *,
        tags: ThinkingTags | None = None,
        tasks: Sequence[str] | None = None,
        count: int | None = None,
    ) -> None:
        self._samples = samples
        self._places = [
            place
            for place, stored in enumerate(samples)
            if is_checkable(stored.sample) and (tasks is None or stored.sample.task in tasks)
        ][:count]
        self._rule = rule
        self._tags = tags

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: int) -> Prompt:
        stored = self._samples[self._places[place]]
        sample, query, template = stored.sample, stored.query_image(), stored.template_image()
        width, height = sample.query_size
        if query.shape[:2] != (height, width):
            raise DatasetError(
                f"sample {sample.key}: {sample.query} has {query.shape[1]}x{query.shape[0]} "
                f"pixels, the set says {width}x{height}; curate it anew"
            )
        seen = self._rule.preprocessor(width, height)
        across, down = seen.image_width / width, seen.image_height / height

        def scale(box: BBox) -> BBox:
            x1, y1, x2, y2 = box
            return (x1 * across, y1 * down, x2 * across, y2 * down)

        turns = fill_boxes(sample.turns, sample.bboxes, scale)[:-1]
        question = Turn("user", asked(turns[-1].text, self._tags))
        is_choice = sample.task == "choice"
        return Prompt(
            key=sample.key,
            messages=chat_messages([*turns[:-1], question]),
            images=(
                Image.fromarray(self._shrink(template)),
                Image.fromarray(seen.resize(query)),
            ),
            truth=Truth(
                kind="choice" if is_choice else "boxes" if sample.boxes else "normal",
                height=seen.image_height,
                width=seen.image_width,
                choice=sample.choice if is_choice else None,
                boxes=tuple(scale(box) for box in sample.boxes),
            ),
        )

    def _shrink(self, image: ImageArray) -> ImageArray:
        height, width = image.shape[:2]
        return self._rule.preprocessor(width, height).resize(image)


def is_checkable(sample: ChatSample) -> bool:
    """Whether the last answer of ``sample`` can be held against its truth."""
    if sample.task == "choice":
        return sample.choice is not None
    return sample.task == "locate" and bool(sample.boxes or not sample.is_anomaly)


def as_dataset(prompts: Prompts, *, count: int, seed: int, at_once: int) -> Dataset:
    """``count`` rows in a fixed order, made when they are read: ever new passes over the prompts.

    The passes are laid out here, not by the trainer's sampler, which begins anew when a run is
    resumed. at_once: prompts of an optimizer step; so many are kept, since each is read often.

    Raises ConfigError when there is no prompt.
    """
    if not len(prompts):
        raise ConfigError("no prompt has an answer that can be checked: give more samples")
    order: list[int] = []
    for number in range(-(-count // len(prompts))):
        order += random.Random(f"{seed}:{number}").sample(range(len(prompts)), len(prompts))
    find = lru_cache(maxsize=at_once)(prompts.__getitem__)

    def rows(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        chosen = [find(place) for place in batch["place"]]
        return {
            "prompt": [item.messages for item in chosen],
            "images": [list(item.images) for item in chosen],
            "truth": [item.truth for item in chosen],
            "key": [item.key for item in chosen],
        }

    return Dataset.from_dict({"place": order[:count]}).with_transform(rows)
