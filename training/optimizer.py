"""AdamW for a stage: which parameters learn, at which rate, and with which decay."""

from __future__ import annotations

from itertools import product

import torch
from torch import nn

from adcopilot_edge.training.model_parts import Part, part_of, trainable
from adcopilot_edge.training.recipe import OptimizerRecipe
from adcopilot_edge.training.stage_recipe import StageRecipe

_VISION_PARTS: tuple[Part, ...] = ("tower", "merger")


def make_optimizer(
    model: nn.Module, stage: StageRecipe, recipe: OptimizerRecipe
) -> torch.optim.Optimizer:
    """AdamW over what learns in a model that nothing is wrapped around yet.

    Norms, biases and the learned queries have no weight decay; tower and merger may have a rate of
    their own.
    """
    groups = []
    for is_vision, decays in product((False, True), repeat=2):
        chosen = [
            parameter
            for name, parameter in trainable(model)
            if (part_of(name) in _VISION_PARTS) == is_vision
            and (parameter.ndim >= 2 and "query" not in name) == decays
        ]
        if chosen:
            rate = stage.vision_learning_rate if is_vision else None
            groups.append(
                {
                    "params": chosen,
                    "lr": rate or stage.learning_rate,
                    "weight_decay": recipe.weight_decay if decays else 0.0,
                }
            )
    # One kernel for all parameters instead of one for each.
    return torch.optim.AdamW(groups, betas=recipe.betas, fused=True)
