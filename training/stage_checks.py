"""What can be known to be wrong with a recipe's stages before the first of them begins."""

from __future__ import annotations

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.config import ADCopilotVisionConfig
from adcopilot_edge.training.grpo_settings import grpo_settings
from adcopilot_edge.training.recipe import ModelRecipe, TrainRecipe
from adcopilot_edge.training.stage_recipe import StageRecipe

Shape = ModelRecipe | ADCopilotVisionConfig
"""What says whether a model has a map: its shapes in a recipe, or its configuration."""


def check_stages(recipe: TrainRecipe, shape: Shape, *, num_devices: int) -> None:
    """Raise ConfigError for a stage that the model, the devices or GRPO can't do.

    recipe: one whose steps are known. shape: of the model that it starts from.
    """
    for stage in recipe.stages:
        stage.accumulation(num_devices)
        if stage.method == "grpo":
            grpo_settings(recipe, stage, num_devices=num_devices)
        _check_maps(stage, shape)


def _check_maps(stage: StageRecipe, shape: Shape) -> None:
    has_map = shape.compare_token_size > 0 and shape.compare_anomaly_map
    for name in ("anomaly_map", "map_verdict"):
        if getattr(stage.loss, name) and not has_map:
            raise ConfigError(
                f"stage {stage.name} has a loss {name}, and the model has no anomaly map; "
                "leave the loss out, or start from a model that has one"
            )
    if stage.loss.map_types and not shape.compare_map_types:
        raise ConfigError(
            f"stage {stage.name} has a loss map_types, and the model tells no types apart; say "
            "compare_map_types in [model] or [base], or leave the loss out"
        )
    if stage.point_queries_at_map and not has_map:
        raise ConfigError(
            f"stage {stage.name} has point_queries_at_map, and the model has no anomaly map; leave "
            "it out, or start from a model that has one"
        )
