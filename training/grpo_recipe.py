"""Settings of GRPO: how answers are drawn, what they earn, and how far a step may go.

Strict records for the ``grpo`` table of a stage. What every stage has (steps, learning rate, parts
that learn) is in ``GrpoRun``, which a stage fills.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.record import Record
from adcopilot_edge.training.lora_recipe import LoraRecipe
from adcopilot_edge.training.model_parts import Part
from adcopilot_edge.training.rewards import TruthKind
from adcopilot_edge.training.thinking import ThinkingTags


class RewardRecipe(Record):
    """Weights of a reward's terms: format, and of the task's term by its kind.

    boxes counts for places, on normal images too; 0 leaves a term out (an ablation).
    """

    format: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    choice: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    boxes: float = Field(default=1.0, ge=0, allow_inf_nan=False)

    def of_kind(self, kind: TruthKind) -> float:
        """The weight of the task's term by the kind of truth."""
        return self.choice if kind == "choice" else self.boxes


class GrpoRecipe(Record):
    """Group-relative policy optimization on answers that can be checked.

    group_size: answers to one question. iterations: optimizer steps on the same answers. beta:
    weight of the KL term; 0 needs no reference. epsilon: how far the ratio of probabilities may go
    from 1 (clipping). temperature, top_p: of the drawing. max_new_tokens: where an answer is cut.
    thinking: the tags, or None (in TOML: false) for a model that answers at once.

    AD-Copilot's own numbers are not published (its spec, section 8): the defaults are those of
    public ports of the method.
    """

    group_size: int = Field(default=8, ge=2)
    iterations: int = Field(default=1, ge=1)
    beta: float = Field(default=0.04, ge=0, allow_inf_nan=False)
    epsilon: float = Field(default=0.2, gt=0, lt=1)
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    top_p: float = Field(default=0.95, gt=0, le=1)
    max_new_tokens: int = Field(default=512, gt=0)
    reward: RewardRecipe = RewardRecipe()
    thinking: ThinkingTags | None = ThinkingTags()

    @field_validator("thinking", mode="before")
    @classmethod
    def _none_is_false(cls, given: Any) -> Any:
        return None if given is False else given


class GrpoRun(Record):
    """One run of GRPO, of which ``grpo`` is what a recipe's table says.

    lora: on the language model alone; trains: parts that learn in full; one of the two.
    prompts_per_step: questions of an optimizer step over all devices. device_batch_size:
    completions that a device takes through the model at once. samples_every_steps: how often what
    was said is kept. evaluate_every_steps: how often the held-out prompts are answered greedily.
    evaluation_prompts: how many of them there are at most. is_bf16: of the products; what learns
    stays in float32.
    """

    grpo: GrpoRecipe = GrpoRecipe()
    seed: int = Field(default=0, ge=0)
    steps: int = Field(gt=0)
    prompts_per_step: int = Field(default=8, gt=0)
    device_batch_size: int = Field(default=8, gt=0)
    learning_rate: float = Field(default=1e-6, gt=0)
    warmup_steps: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    lora: LoraRecipe | None = LoraRecipe(parts=("language",))
    trains: tuple[Part, ...] = ()
    is_bf16: bool = False
    gradient_checkpointing: bool = False
    log_every_steps: int = Field(default=1, gt=0)
    checkpoint_every_steps: int = Field(default=100, gt=0)
    samples_every_steps: int = Field(default=20, gt=0)
    evaluate_every_steps: int = Field(default=100, gt=0)
    evaluation_prompts: int = Field(default=64, ge=0)

    @model_validator(mode="after")
    def _check(self) -> GrpoRun:
        if (self.lora is None) == (not self.trains):
            raise ValueError("give lora, or the parts that learn in full in trains: one of the two")
        if self.checkpoint_every_steps % self.grpo.iterations:
            raise ValueError(
                f"checkpoint_every_steps must be a multiple of iterations "
                f"({self.grpo.iterations}): a resumed run can't draw the same answers again"
            )
        return self

    def accumulation(self, num_devices: int) -> int:
        """How many batches ``num_devices`` devices add up for an optimizer step.

        Raises ConfigError when the completions of a step do not divide.
        """
        completions = self.prompts_per_step * self.grpo.group_size
        if completions % (self.device_batch_size * num_devices):
            raise ConfigError(
                f"{self.prompts_per_step} prompts with {self.grpo.group_size} answers each do not "
                f"divide into {num_devices} devices with {self.device_batch_size} at once each; "
                "choose another device_batch_size or another number of prompts"
            )
        return completions // (self.device_batch_size * num_devices)
