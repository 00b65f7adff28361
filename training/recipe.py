"""Training recipes: strict records read from TOML. An unknown key is an error."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from adcopilot_edge.embedded import embedded_checkpoint, is_embedded
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.positions import ComparePositionMode
from adcopilot_edge.record import Record
from adcopilot_edge.training.folder.settings import FolderSettings
from adcopilot_edge.training.shapes import ShapeName
from adcopilot_edge.training.stage_recipe import DataRecipe, StageRecipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


ROOM_PX = 10
"""What people leave around a defect when they draw a box. The map marks a part of it, and boxes
around its regions are widened by the rest."""


class ModelRecipe(Record):
    """Shapes of a model trained from scratch; widths are vector lengths, mlp the inner width.

    Those of the comparison are as in ``ADCopilotVisionConfig``.
    """

    vocab_size: int = Field(ge=300)
    vision_width: int = Field(gt=0)
    vision_depth: int = Field(gt=0)
    vision_heads: int = Field(gt=0)
    vision_mlp: int = Field(gt=0)
    full_attention_blocks: tuple[int, ...]
    hidden_size: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    mlp: int = Field(gt=0)
    mrope_section: tuple[int, int, int]
    compare_token_size: int = Field(ge=0)
    compare_position_mode: ComparePositionMode
    compare_minus_residual: bool = True
    compare_rope: bool
    compare_query_grid: bool = False
    compare_patch_places: bool = False
    compare_anomaly_map: bool
    compare_map_scale: Literal[1, 2, 7, 14] = 1
    compare_map_margin: int = Field(default=0, ge=0, le=ROOM_PX)
    compare_map_types: tuple[str, ...] = ()
    compare_token_cells: int = Field(default=0, ge=0, le=16)


class BaseRecipe(Record):
    """A checkpoint to start from: ours, an AD-Copilot, or a stock Qwen2.5-VL.

    checkpoint: a folder, ``owner/name`` on the hub with ``revision`` a branch, tag or commit, or
    ``embedded``, that of the package.
    The others add a fresh Comparison Encoder to a stock model, which needs compare_token_size, and
    must be left out where the checkpoint has one; they mean what they do in ``ModelRecipe``.
    Three may be said of any checkpoint: compare_map_types and compare_token_cells, if it has a map,
    whose types are then told apart and whose parts are told anew, and compare_patch_places, which
    changes nothing until it is trained.
    shape: what a plan goes by while there is no such folder.
    """

    checkpoint: str = Field(min_length=1)
    revision: str | None = None
    shape: ShapeName | None = None
    compare_token_size: int | None = Field(default=None, gt=0)
    compare_position_mode: ComparePositionMode | None = None
    compare_rope: bool | None = None
    compare_patch_places: bool | None = None
    compare_anomaly_map: bool | None = None
    compare_map_scale: Literal[1, 2, 7, 14] | None = None
    compare_map_margin: int | None = Field(default=None, ge=0, le=ROOM_PX)
    compare_map_types: tuple[str, ...] | None = None
    compare_token_cells: int | None = Field(default=None, gt=0, le=16)

    @property
    def source(self) -> str:
        """Where the checkpoint is: a folder, or an id on the hub."""
        return str(embedded_checkpoint()) if is_embedded(self.checkpoint) else self.checkpoint


class OptimizerRecipe(Record):
    """AdamW; each stage warms up linearly, then follows a cosine to a tenth of its rate."""

    weight_decay: float = Field(ge=0)
    max_grad_norm: float = Field(gt=0)
    betas: tuple[float, float] = (0.9, 0.98)


class ScheduleRecipe(Record):
    """How often things happen, in optimizer steps; how many pairs or dialogues a set is scored on.

    evaluation_answers: of how many of these pairs, at most, the boxes are also asked in words,
    token by token; pairs whose boxes are known. Of dialogues, how many questions with one right
    answer are answered.
    """

    log_every_steps: int = Field(gt=0)
    evaluate_every_steps: int = Field(gt=0)
    checkpoint_every_steps: int = Field(gt=0)
    evaluation_pairs: int = Field(gt=0)
    evaluation_answers: int = Field(default=32, gt=0)


class TrainRecipe(Record):
    """A whole recipe: from a model's shapes or from a checkpoint, through one or more stages.

    image_size: side in pixels of the square images of pairs, and of all images of a stage that
    gives no limits of its own. evaluation: what to score on; pairs of our generator where it is
    left out.
    """

    name: str = Field(min_length=1)
    seed: int = Field(ge=0)
    image_size: int = Field(gt=0, multiple_of=28)
    model: ModelRecipe | None = None
    base: BaseRecipe | None = None
    optimizer: OptimizerRecipe
    stages: tuple[StageRecipe, ...] = Field(min_length=1)
    schedule: ScheduleRecipe
    evaluation: tuple[DataRecipe, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> TrainRecipe:
        if (self.model is None) == (self.base is None):
            raise ValueError("give [model] for a model from scratch or [base] for a checkpoint")
        if fault := self._split_fault():
            raise ValueError(fault)
        return self

    @property
    def sources(self) -> tuple[DataRecipe, ...]:
        """What its stages train on and what it is scored on, one behind the other."""
        return (*(item for stage in self.stages for item in stage.data), *self.evaluation)

    def _split_fault(self) -> str | None:
        """What is wrong with a folder that is named several times; None where nothing is."""
        splits: dict[str, FolderSettings] = {}
        for item in self.sources:
            if item.kind == "folder" and item.path is not None:
                first = splits.setdefault(item.path, item.folder)
                if (first.holdout, first.layout) != (item.folder.holdout, item.folder.layout):
                    return (
                        f"the folder {item.path} is split in two ways, so parts that train would "
                        "be scored; give it the same holdout and layout everywhere"
                    )
        return None

    @property
    def steps(self) -> int:
        """Optimizer steps of all stages. Raises ConfigError while one has epochs instead."""
        if waiting := [stage.name for stage in self.stages if not stage.steps]:
            raise ConfigError(
                f"recipe {self.name}: the steps of {', '.join(waiting)} are known once its data is"
            )
        return sum(stage.steps for stage in self.stages)

    def with_paths(self, paths: dict[str, str]) -> TrainRecipe:
        """The recipe with other folders for its data, by kind (``--data chat-ad=FOLDER``).

        Raises ConfigError for a kind that it has no data of.
        """
        held = {item.kind for item in self.sources if item.path}
        if unknown := sorted(set(paths) - set(held)):
            raise ConfigError(
                f"recipe {self.name} has no data of the kind {', '.join(unknown)} with a path; "
                f"it has {', '.join(sorted(held)) or 'none'}"
            )
        stages = tuple(stage.with_paths(paths) for stage in self.stages)
        evaluation = tuple(item.with_paths(paths) for item in self.evaluation)
        changed = self.model_copy(update={"stages": stages, "evaluation": evaluation})
        if fault := changed._split_fault():
            raise ConfigError(f"recipe {self.name}: {fault}")
        return changed

    def with_base(self, checkpoint: str) -> TrainRecipe:
        """The recipe from another checkpoint, whose shape and revision nobody has said.

        Raises ConfigError if it starts from shapes.
        """
        if self.base is None:
            raise ConfigError(
                f"recipe {self.name} trains a model from scratch, so it has no base to replace"
            )
        if checkpoint == self.base.checkpoint:
            return self
        base = self.base.model_copy(
            update={"checkpoint": checkpoint, "shape": None, "revision": None}
        )
        return self.model_copy(update={"base": base})

    def with_steps(self, steps: int) -> TrainRecipe:
        """The recipe shortened or stretched to ``steps``, stages and their warm-up in proportion.

        Raises ConfigError when there are fewer steps than stages, or one of several has epochs.
        """
        if steps < len(self.stages):
            raise ConfigError(
                f"recipe {self.name} has {len(self.stages)} stages and needs as many steps, "
                f"got {steps}"
            )
        if len(self.stages) == 1:  # no proportion to know, so it may have epochs
            return self.model_copy(update={"stages": (self.stages[0].with_steps(steps),)})
        ends = [0]
        done = 0
        for index, stage in enumerate(self.stages, start=1):
            done += stage.steps
            end = max(round(steps * done / self.steps), ends[-1] + 1)
            ends.append(min(end, steps - (len(self.stages) - index)))
        stages = tuple(
            stage.with_steps(end - start)
            for stage, start, end in zip(self.stages, ends, ends[1:], strict=False)
        )
        return self.model_copy(update={"stages": stages})


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    folder = resources.files("adcopilot_edge.training") / "recipes"
    return sorted(
        item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")
    )


def load_recipe(name_or_path: str) -> TrainRecipe:
    """Read a recipe by name (``nano``) or from a TOML file. Raises ConfigError."""
    if name_or_path in recipe_names():
        source = resources.files("adcopilot_edge.training") / "recipes" / f"{name_or_path}.toml"
        text = source.read_text(encoding="utf-8")
    elif Path(name_or_path).is_file():
        text = Path(name_or_path).read_text(encoding="utf-8")
    else:
        raise ConfigError(
            f"no recipe {name_or_path!r}: give a TOML file or one of {', '.join(recipe_names())}"
        )
    try:
        return TrainRecipe.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as err:
        raise ConfigError(f"recipe {name_or_path} is not valid TOML: {err}") from err
    except ValidationError as err:
        findings = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in err.errors()
        )
        raise ConfigError(f"recipe {name_or_path}: {findings}") from err
