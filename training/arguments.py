"""The settings of transformers' Trainer for a stage: everything that is not the recipe's is off."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import torch
from torch import distributed
from transformers import TrainingArguments

from adcopilot_edge.training.recipe import TrainRecipe
from adcopilot_edge.training.schedule import StagePlan

Parallel = Literal["ddp", "fsdp"]
"""How several processes share a model: each has all of it, or each has a part."""


def num_processes() -> int:
    """How many processes train together; more than one under ``torchrun`` or ``accelerate``."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_number() -> int:
    """Which of them this one is, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main_process() -> bool:
    """Whether this process is the one that writes and prints."""
    return process_number() == 0


def keep_one_device(arguments: TrainingArguments) -> None:
    """Let a process that was started alone use its first device.

    The trainer would copy the model to all that it sees and multiply the batch.
    """
    arguments._n_gpu = min(1, arguments.n_gpu)


def leave_group() -> None:
    """Part from the processes that train together, if there are some, once all have come here.

    A process that just exits has threads of the group that still run, and may abort.
    """
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def stage_arguments(
    recipe: TrainRecipe, plan: StagePlan, folder: Path, *, workers: int, parallel: Parallel
) -> TrainingArguments:
    """The settings of a stage.

    Raises ConfigError when the batch does not divide into the devices.
    """
    stage = plan.stage
    has_gpu = torch.cuda.is_available()
    is_sharded = parallel == "fsdp" and num_processes() > 1
    accumulation = stage.accumulation(num_processes())
    more: dict[str, Any] = {}
    if stage.gradient_checkpointing and not is_sharded:
        more["activation_checkpointing"] = True
        more["activation_checkpointing_kwargs"] = {"use_reentrant": False}
    if is_sharded:
        more["fsdp"] = True
        more["fsdp_config"] = {
            "state_dict_type": "FULL_STATE_DICT",
            "activation_checkpointing": stage.gradient_checkpointing,
        }
    arguments = TrainingArguments(
        output_dir=str(folder),
        seed=recipe.seed + plan.number,
        max_steps=stage.steps,
        per_device_train_batch_size=stage.batch_size // (num_processes() * accumulation),
        gradient_accumulation_steps=accumulation,
        bf16=stage.precision == "bf16",
        use_cpu=not has_gpu,
        max_grad_norm=recipe.optimizer.max_grad_norm,
        train_sampling_strategy="sequential",
        dataloader_num_workers=workers,
        dataloader_prefetch_factor=4 if workers else None,
        dataloader_pin_memory=has_gpu,
        ddp_find_unused_parameters=True,
        remove_unused_columns=False,
        logging_strategy="no",
        eval_strategy="no",
        save_strategy="no",
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        **more,
    )
    keep_one_device(arguments)
    return arguments
