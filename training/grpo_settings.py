"""What a recipe's stage of the method ``grpo`` tells the trainer. Knows neither trl nor data."""

from __future__ import annotations

from typing import Any

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.grpo_recipe import GrpoRun
from adcopilot_edge.training.recipe import TrainRecipe
from adcopilot_edge.training.stage_recipe import StageRecipe


def grpo_settings(recipe: TrainRecipe, stage: StageRecipe, *, num_devices: int) -> GrpoRun:
    """What ``train_grpo`` is told. Raises ConfigError for what it can't do."""
    assert stage.grpo is not None
    if stage.lora is not None and stage.lora.parts != ("language",):
        raise ConfigError(
            f"stage {stage.name}: adapters of GRPO are on the language model's layers; "
            'write lora.parts = ["language"]'
        )
    schedule = recipe.schedule
    settings: dict[str, Any] = {
        "grpo": stage.grpo,
        "seed": recipe.seed,
        "steps": stage.steps,
        "prompts_per_step": stage.batch_size,
        "device_batch_size": stage.at_once(num_devices),
        "learning_rate": stage.learning_rate,
        "warmup_steps": stage.rise(),
        "weight_decay": recipe.optimizer.weight_decay,
        "betas": recipe.optimizer.betas,
        "max_grad_norm": recipe.optimizer.max_grad_norm,
        "lora": stage.lora,
        "trains": stage.trains,
        "is_bf16": stage.precision == "bf16",
        "gradient_checkpointing": stage.gradient_checkpointing,
        "log_every_steps": schedule.log_every_steps,
        "checkpoint_every_steps": schedule.checkpoint_every_steps,
        "samples_every_steps": schedule.evaluate_every_steps,
    }
    try:
        return GrpoRun(**settings)
    except ValueError as err:
        raise ConfigError(f"stage {stage.name}: {err}") from err
