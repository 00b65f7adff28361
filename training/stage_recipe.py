"""A stage of a recipe: what learns, how, from which data, for how long. Knows no other stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.record import Record
from adcopilot_edge.training.chat_ad.sample import SAMPLE_TASKS
from adcopilot_edge.training.folder.settings import FolderSettings
from adcopilot_edge.training.grpo_recipe import GrpoRecipe
from adcopilot_edge.training.lora_recipe import LoraRecipe
from adcopilot_edge.training.model_parts import Part
from adcopilot_edge.training.synthetic import SURFACES, TRAINING_SURFACES, check_num_defects
from adcopilot_edge.training.tasks import DEFAULT_NUM_QUESTIONS
from adcopilot_edge.types import TASKS

DataKind = Literal["synthetic", "changes", "folder", "chat-ad"]
Method = Literal["sft", "grpo"]
Precision = Literal["bf16", "fp32"]


_NOT_GRPO = (
    "image_size",
    "vision_learning_rate",
    "group_by_length",
    "packing",
    "point_queries_at_map",
    "loss",
)
"""What of a stage GRPO has no use for; to say it is an error."""


class DataRecipe(Record):
    """A source of samples.

    kind: ``synthetic`` pairs of our generator, ``changes`` made to the photographs in a folder,
    ``folder`` a user's golden, good and bad parts, ``chat-ad`` dialogues in shards. path: the
    folder of every kind but ``synthetic``. split: of ``chat-ad``. weight: its share of the samples
    against those of the stage's other sources. tasks: what is asked, of the four tasks for pairs
    and of Chat-AD's for dialogues; all where it is left out. questions: how many of them
    about a pair at most, the verdict counted. count: how many samples an epoch takes of it, at
    most; a source that makes its pairs has no end without it. surfaces: of ``synthetic``, the ones
    that are drawn, each as often; all by their shares where it is left out. num_defects: of
    ``synthetic``, the fewest and the most of a pair; half of the pairs have none where it is left
    out. folder: of ``folder``, how its pairs are made and what of it never trains.
    """

    kind: DataKind
    path: str | None = None
    folder: FolderSettings = FolderSettings()
    split: str = "train"
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    tasks: tuple[str, ...] | None = Field(default=None, min_length=1)
    questions: int = Field(default=DEFAULT_NUM_QUESTIONS, ge=2, le=len(TASKS))
    count: int | None = Field(default=None, gt=0)
    surfaces: tuple[str, ...] = ()
    num_defects: tuple[int, int] | None = None

    @model_validator(mode="after")
    def _check(self) -> DataRecipe:
        if (self.path is None) != (self.kind == "synthetic"):
            state = "needs a path" if self.path is None else "has no path"
            raise ValueError(f"data of the kind {self.kind} {state}")
        if self.kind != "folder" and self.folder != FolderSettings():
            raise ValueError(f"data of the kind {self.kind} has no table folder")
        if self.kind != "synthetic" and (self.surfaces or self.num_defects):
            raise ValueError(f"data of the kind {self.kind} has no surfaces and no num_defects")
        if self.num_defects:
            check_num_defects(self.num_defects)
        if unknown := [name for name in self.surfaces if name not in SURFACES]:
            raise ValueError(
                f"unknown surfaces {', '.join(unknown)}; known are {', '.join(SURFACES)}"
            )
        known = SAMPLE_TASKS if self.kind == "chat-ad" else TASKS
        if unknown := [task for task in self.tasks or () if task not in known]:
            raise ValueError(
                f"data of the kind {self.kind} knows the tasks {', '.join(known)}, "
                f"not {', '.join(unknown)}"
            )
        return self

    def with_paths(self, paths: dict[str, str]) -> DataRecipe:
        """The source with another folder, where there is one for its kind."""
        return self.model_copy(update={"path": paths[self.kind]}) if self.kind in paths else self


class LossRecipe(Record):
    """Weights of the text losses and of the losses of the maps; 0 leaves one out.

    The four tasks are those asked about pairs, each a mean over its own answer tokens; ``text`` is
    the mean over what the assistant says in dialogues. anomaly_map: over cells. map_types: over the
    patches of a pair's defects whose type is one of ``compare_map_types``. map_verdict: over pairs,
    whether the map's highest cells are high where the defects are, and low where there is none.
    even_defects: marked cells of the map count the more the fewer a pair has, so that small defects
    are learned like large ones.
    """

    verdict: float = Field(default=0.0, ge=0)
    classify: float = Field(default=0.0, ge=0)
    locate: float = Field(default=0.0, ge=0)
    describe: float = Field(default=0.0, ge=0)
    text: float = Field(default=0.0, ge=0)
    anomaly_map: float = Field(default=0.0, ge=0)
    map_types: float = Field(default=0.0, ge=0)
    map_verdict: float = Field(default=0.0, ge=0)
    even_defects: bool = False

    @model_validator(mode="after")
    def _check(self) -> LossRecipe:
        if self.even_defects and not self.anomaly_map:
            raise ValueError("even_defects weighs the loss anomaly_map, which is left out")
        return self

    @property
    def has_text(self) -> bool:
        """Whether any text loss counts, so that the language model has to run."""
        return any(getattr(self, kind) > 0 for kind in (*TASKS, "text"))


class StageRecipe(Record):
    """One stage of a run: which parts learn, from which losses and data, for how long.

    trains: parts that learn in full; ``lora`` has those that learn by adapters. steps, epochs: one
    of the two; an epoch is a pass over the first of ``data``. batch_size: samples of an optimizer
    step, over all devices, so that the number of devices changes no result; for GRPO questions.
    device_batch_size: how many of them, for GRPO answers, a device takes at once; the rest is
    accumulated. Without it, all that it gets.
    vision_learning_rate: of tower and merger, where it is another. warmup_steps, warmup_share: how
    long the rate rises. precision: of the products; with ``bf16`` what learns stays in float32, and
    what is frozen of a checkpoint is kept in bfloat16. image_size: of its training images, where it
    is not the recipe's; a first stage at half the size sees four times the pairs in the same time.
    min_pixels, max_pixels: area that images of
    dialogues are brought into with their aspect kept; without them they become squares of the
    recipe's ``image_size``. packing: lay short samples of a batch in a row, with equal results.
    point_queries_at_map: before the stage, half of the query decoder's heads are set to attend
    where the anomaly map is high (see ``comparison_start.py``).
    """

    name: str = Field(min_length=1)
    method: Method = "sft"
    trains: tuple[Part, ...] = ()
    lora: LoraRecipe | None = None
    grpo: GrpoRecipe | None = None
    data: tuple[DataRecipe, ...] = Field(default=(DataRecipe(kind="synthetic"),), min_length=1)
    steps: int = Field(default=0, ge=0)
    epochs: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    batch_size: int = Field(gt=0)
    device_batch_size: int | None = Field(default=None, gt=0)
    learning_rate: float = Field(gt=0)
    vision_learning_rate: float | None = Field(default=None, gt=0)
    warmup_steps: int = Field(default=0, ge=0)
    warmup_share: float = Field(default=0.0, ge=0, lt=1)
    precision: Precision = "bf16"
    gradient_checkpointing: bool = False
    image_size: int | None = Field(default=None, gt=0, multiple_of=28)
    min_pixels: int | None = Field(default=None, gt=0)
    max_pixels: int | None = Field(default=None, gt=0)
    group_by_length: bool = False
    packing: bool = False
    point_queries_at_map: bool = False
    loss: LossRecipe = LossRecipe()

    @model_validator(mode="after")
    def _check(self) -> StageRecipe:
        findings = [
            (bool(self.steps) == bool(self.epochs), "give steps or epochs, one of the two"),
            (bool(self.warmup_steps and self.warmup_share), "give one of warmup_steps and _share"),
            (
                (self.min_pixels is None) != (self.max_pixels is None),
                "give both min_pixels and max_pixels, or neither",
            ),
            ((self.min_pixels or 0) > (self.max_pixels or 0), "min_pixels is above max_pixels"),
            (not self.trains and self.lora is None, "nothing learns: give trains, lora or both"),
            (
                self.lora is not None and bool({*self.trains} & {*self.lora.parts}),
                "a part is in trains and in lora",
            ),
            ((self.method == "grpo") != (self.grpo is not None), "method grpo has a grpo table"),
            (
                self.method == "grpo" and bool(self.epochs) and len(self.data) > 1,
                "grpo asks all questions of several sources in one pass: give steps, not epochs",
            ),
            *((True, f"grpo has no {name}") for name in self._unused_by_grpo()),
            (
                self.method == "sft" and not any(self.loss.model_dump().values()),
                "no loss has a weight above 0",
            ),
        ]
        if wrong := [message for is_wrong, message in findings if is_wrong]:
            raise ValueError("; ".join(wrong))
        drawn = {surface for item in self.data for surface in item.surfaces}
        if unseen := sorted(drawn.difference(TRAINING_SURFACES)):
            raise ValueError(
                f"no training draws {', '.join(unseen)}, which are there to be scored on; the "
                f"others are {', '.join(TRAINING_SURFACES)}"
            )
        return self

    def _unused_by_grpo(self) -> list[str]:
        """What is said of a stage of GRPO that it would pass over."""
        if self.method != "grpo":
            return []
        fields = type(self).model_fields
        said = [name for name in _NOT_GRPO if getattr(self, name) != fields[name].default]
        return said + ["weight in its data"] * any(item.weight != 1.0 for item in self.data)

    @property
    def learning_parts(self) -> tuple[Part, ...]:
        """The parts that change, in full or by adapters."""
        return (*self.trains, *(self.lora.parts if self.lora else ()))

    @property
    def has_text(self) -> bool:
        """Whether the stage teaches any words, so that they are worth scoring."""
        return self.method == "grpo" or self.loss.has_text

    @property
    def step_size(self) -> int:
        """What goes through the model for a step: samples, or all answers to GRPO's questions."""
        return self.batch_size * (self.grpo.group_size if self.grpo else 1)

    @property
    def limits(self) -> tuple[int, int] | None:
        """The area in pixels that images of dialogues are brought into; None for squares."""
        if self.min_pixels is None or self.max_pixels is None:
            return None
        return self.min_pixels, self.max_pixels

    @property
    def can_shard(self) -> bool:
        """Whether devices may each have a part of the model; GRPO's answers need all of it."""
        return self.method != "grpo"

    def accumulation(self, num_devices: int) -> int:
        """How many batches ``num_devices`` devices add up for a step.

        Raises ConfigError when the step does not divide.
        """
        at_once = num_devices * self.at_once(num_devices)
        if self.step_size % at_once:
            what = f"{self.grpo.group_size} answers to each question" if self.grpo else "samples"
            raise ConfigError(
                f"stage {self.name}: a step of {self.step_size} does not divide into {num_devices} "
                f"devices with {at_once // num_devices} at once each; choose batch_size ({what}) "
                f"and device_batch_size so that it is a multiple of {at_once}"
            )
        return self.step_size // at_once

    def divides(self, num_devices: int) -> bool:
        """Whether a step can be shared by so many devices."""
        return self.step_size % (num_devices * self.at_once(num_devices)) == 0

    def at_once(self, num_devices: int) -> int:
        """What each of so many devices takes through the model at once: see ``step_size``."""
        return self.device_batch_size or max(1, self.step_size // num_devices)

    def rise(self) -> int:
        """The steps for which the learning rate rises. The stage must have its steps."""
        return self.warmup_steps or round(self.warmup_share * self.steps)

    def with_steps(self, steps: int) -> StageRecipe:
        """The stage with so many steps in place of its own or its epochs; its warm-up follows."""
        warmup = round(self.warmup_steps * steps / self.steps) if self.steps else self.warmup_steps
        return self.model_copy(update={"steps": steps, "epochs": 0.0, "warmup_steps": warmup})

    def with_paths(self, paths: dict[str, str]) -> StageRecipe:
        """The stage with other folders for its data, by kind."""
        data = tuple(item.with_paths(paths) for item in self.data)
        return self.model_copy(update={"data": data})
