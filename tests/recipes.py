"""A small recipe of one stage, as the content of its file."""

from __future__ import annotations

from typing import Any

STAGE: dict[str, Any] = {
    "name": "one",
    "trains": ["comparison"],
    "steps": 4,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "loss": {"text": 1.0},
}
BASE: dict[str, Any] = {
    "name": "x",
    "seed": 0,
    "image_size": 112,
    "base": {"checkpoint": "runs/stage0/checkpoint"},
    "optimizer": {"weight_decay": 0.0, "max_grad_norm": 1.0},
    "schedule": {
        "log_every_steps": 1,
        "evaluate_every_steps": 1,
        "checkpoint_every_steps": 1,
        "evaluation_pairs": 1,
    },
}
