"""Training recipes: strict records read from TOML. An unknown key is an error."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.positions import ComparePositionMode
from adcopilot_edge.training.parts import Part
from adcopilot_edge.types import TASKS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


ROOM_PX = 10
"""What people leave around a defect when they draw a box. The map marks a part of it, and boxes
around its regions are widened by the rest."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelRecipe(_Record):
    """Shapes of a model trained from scratch; widths are vector lengths, mlp the inner width.

    compare_map_scale, compare_map_margin: as in ``ADCopilotVisionConfig``.
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
    compare_token_size: int = Field(gt=0)
    compare_position_mode: ComparePositionMode
    compare_rope: bool
    compare_query_grid: bool = False
    compare_anomaly_map: bool
    compare_map_scale: Literal[1, 2, 7, 14] = 1
    compare_map_margin: int = Field(default=0, ge=0, le=ROOM_PX)


class OptimizerRecipe(_Record):
    """AdamW; each stage warms up linearly, then follows a cosine to a tenth of its rate."""

    weight_decay: float = Field(ge=0)
    max_grad_norm: float = Field(gt=0)


class LossRecipe(_Record):
    """Weights of the four text losses and of the anomaly map's dense loss; 0 leaves one out."""

    verdict: float = Field(default=0.0, ge=0)
    classify: float = Field(default=0.0, ge=0)
    locate: float = Field(default=0.0, ge=0)
    describe: float = Field(default=0.0, ge=0)
    anomaly_map: float = Field(default=0.0, ge=0)

    @property
    def has_text(self) -> bool:
        """Whether any text loss counts, so that the language model has to run."""
        return any(getattr(self, task) > 0 for task in TASKS)


class StageRecipe(_Record):
    """One stage of a run: which parts learn, from which losses, for how many optimizer steps.

    point_queries_at_map: before the stage, half of the query decoder's heads are set to attend
    where the anomaly map is high (see ``ComparisonEncoder.point_queries_at_map``).
    """

    name: str
    trains: tuple[Part, ...] = Field(min_length=1)
    point_queries_at_map: bool = False
    steps: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(ge=0)
    loss: LossRecipe


class ScheduleRecipe(_Record):
    """How often things happen, in optimizer steps; how many pairs an evaluation takes."""

    log_every_steps: int = Field(gt=0)
    evaluate_every_steps: int = Field(gt=0)
    checkpoint_every_steps: int = Field(gt=0)
    evaluation_pairs: int = Field(gt=0)


class TrainRecipe(_Record):
    """A whole recipe. image_size: side of the square model input in pixels."""

    name: str
    seed: int = Field(ge=0)
    image_size: int = Field(gt=0, multiple_of=28)
    model: ModelRecipe
    optimizer: OptimizerRecipe
    stages: tuple[StageRecipe, ...] = Field(min_length=1)
    schedule: ScheduleRecipe

    @property
    def steps(self) -> int:
        """Optimizer steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def with_steps(self, steps: int) -> TrainRecipe:
        """The recipe shortened or stretched to ``steps``, every stage in proportion.

        Raises ConfigError when there are fewer steps than stages.
        """
        if steps < len(self.stages):
            raise ConfigError(
                f"recipe {self.name} has {len(self.stages)} stages and needs as many steps, "
                f"got {steps}"
            )
        ends = [0]
        done = 0
        for index, stage in enumerate(self.stages, start=1):
            done += stage.steps
            end = max(round(steps * done / self.steps), ends[-1] + 1)
            ends.append(min(end, steps - (len(self.stages) - index)))
        stages = tuple(
            stage.model_copy(update={"steps": end - start})
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
