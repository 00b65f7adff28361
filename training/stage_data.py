"""The samples of a stage: its sources opened, mixed, and built; sample i by its number alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch.utils.data import Dataset

from adcopilot_edge.training.batch import Sample
from adcopilot_edge.training.changes.source import open_changes
from adcopilot_edge.training.dialogues import open_dialogues
from adcopilot_edge.training.folder import FolderPairs, open_folder
from adcopilot_edge.training.mixture import Mixture
from adcopilot_edge.training.pair_source import PairSource
from adcopilot_edge.training.sample_builder import SampleBuilder
from adcopilot_edge.training.stage_recipe import DataRecipe, StageRecipe
from adcopilot_edge.training.synthetic import generate_pair
from adcopilot_edge.training.tasks import DEFAULT_NUM_QUESTIONS
from adcopilot_edge.types import TASKS, LabelledPair, Task

FIRST_TRAINING_NUMBER = 1_000_000
"""Numbers of training pairs start here; those below belong to the tokenizer and to evaluation."""

_RUN_NUMBERS = 100_000_000
_EVALUATED = (8, 10)
"""From which run's numbers on, and for how many runs', pairs are measured on: no run has them."""
_QUESTION_TOKENS = 40  # a question and its answer, about


class SampleSource(Protocol):
    """Samples known by a number. size: how many there are, None without an end."""

    @property
    def size(self) -> int | None:
        """How many samples there are."""
        ...

    def sample(self, number: int, builder: SampleBuilder) -> Sample:
        """Sample ``number``, the same in every process and run."""
        ...

    def length(self, number: int, builder: SampleBuilder) -> int:
        """About how many tokens it has, without reading its images."""
        ...


@dataclass(frozen=True, slots=True)
class SyntheticPairs:
    """The pairs of our generator.

    surfaces: drawn in turn; all by their shares without any. num_defects: see ``generate_pair``.
    """

    surfaces: Sequence[str] = ()
    num_defects: tuple[int, int] | None = None

    def pair(self, number: int, *, size: int) -> LabelledPair:
        """The pair of the seed ``number``."""
        surface = self.surfaces[number % len(self.surfaces)] if self.surfaces else None
        pair = generate_pair(number, size=size, surface=surface, num_defects=self.num_defects)
        return pair.to_labelled()


@dataclass(frozen=True, slots=True)
class PairSamples:
    """Pairs that are made on the way. first: the number of the first one."""

    pairs: PairSource
    first: int
    size: int | None = None
    tasks: Sequence[Task] = TASKS
    num_questions: int = DEFAULT_NUM_QUESTIONS

    def pair(self, number: int, *, size: int) -> LabelledPair:
        """The pair alone; see ``PairSource``."""
        return self.pairs.pair(self.first + number, size=size)

    def sample(self, number: int, builder: SampleBuilder) -> Sample:
        """The pair with its questions."""
        pair = self.pair(number, size=builder.images.side)
        rng = random.Random(self.first + number)
        return builder.build(pair, rng, self.tasks, self.num_questions)

    def length(self, number: int, builder: SampleBuilder) -> int:
        """The same for all."""
        return len(builder.prefix) + _QUESTION_TOKENS * self.num_questions


class StageData(Dataset[Sample]):
    """``count`` samples of mixed sources from ``first`` on."""

    def __init__(
        self,
        builder: SampleBuilder,
        sources: Sequence[SampleSource],
        mixture: Mixture,
        *,
        count: int,
        first: int = 0,
    ) -> None:
        self._builder = builder
        self._sources = sources
        self._mixture = mixture
        self._count = count
        self._first = first

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        source, number = self._mixture.place(self._first + index)
        return self._sources[source].sample(number, self._builder)

    def length(self, index: int) -> int:
        """About how many tokens the sample at ``index`` has."""
        source, number = self._mixture.place(self._first + index)
        return self._sources[source].length(number, self._builder)


def first_number(seed: int, samples_before: int) -> int:
    """The number of a stage's first made pair: no other stage or seed of a recipe has it too."""
    first, count = _EVALUATED
    run = seed if seed < first else seed + count
    return FIRST_TRAINING_NUMBER + run * _RUN_NUMBERS + samples_before


def mixture_of(stage: StageRecipe, sources: Sequence[SampleSource], seed: int) -> Mixture:
    """How the stage's sources are mixed."""
    return Mixture([item.weight for item in stage.data], [source.size for source in sources], seed)


def open_sources(stage: StageRecipe, first: int, seed: int) -> list[SampleSource]:
    """The sources of a stage. first: the number of its first made pair.

    Raises:
        ConfigError: A folder is missing, or has no such split.
        DatasetError: It holds nothing that can be used.
    """
    return [_open(item, first, seed) for item in stage.data]


def resolve_steps(stage: StageRecipe, sources: Sequence[SampleSource], seed: int) -> StageRecipe:
    """The stage with its steps, which its epochs and its data give where it does not say them.

    Raises ConfigError when its first source has no end.
    """
    if stage.steps:
        return stage
    steps = mixture_of(stage, sources, seed).num_steps(stage.epochs, stage.batch_size)
    return stage.model_copy(update={"steps": steps, "epochs": 0.0})


def _open(item: DataRecipe, first: int, seed: int) -> SampleSource:
    tasks = TASKS if item.tasks is None else tuple(t for t in TASKS if t in item.tasks)
    pairs: PairSource
    if item.kind == "synthetic":
        pairs = SyntheticPairs(item.surfaces, item.num_defects)
        return PairSamples(pairs, first, item.count, tasks, item.questions)
    assert item.path is not None
    if item.kind == "chat-ad":
        return open_dialogues(item.path, split=item.split, tasks=item.tasks, count=item.count)
    if item.kind == "changes":
        pairs = open_changes(Path(item.path), seed=seed)
    else:
        pairs = FolderPairs(open_folder(Path(item.path), item.folder), seed)
    return PairSamples(pairs, first, item.count, tasks, item.questions)
