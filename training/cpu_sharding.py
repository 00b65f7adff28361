"""What accelerate leaves out: a model in shards on processors without an accelerator.

accelerate shards on GPUs and their like only, although torch can on any device. With this the very
code that trains a large model on many GPUs runs in a test on two processes.
"""

from __future__ import annotations

from typing import Any

from accelerate import Accelerator, PartialState
from accelerate.utils import (
    DistributedType,
    FullyShardedDataParallelPlugin,
    save_fsdp_optimizer,
)
from torch import nn, optim
from transformers import TrainingArguments


def shard_on_cpu(accelerator: Accelerator, args: TrainingArguments) -> bool:
    """Let ``accelerator`` shard where ``args`` ask for it and it would not. Whether it was done."""
    if not args.fsdp or accelerator.distributed_type != DistributedType.MULTI_CPU:
        return False
    settings: dict[str, Any] = args.fsdp_plugin_args
    plugin = FullyShardedDataParallelPlugin(**settings)
    if args.mixed_precision != "no":
        plugin.set_mixed_precision(args.mixed_precision)
    accelerator.state.fsdp_plugin = plugin
    # Both records are shared by all their instances, and the second is copied into the first.
    accelerator.state.distributed_type = PartialState().distributed_type = DistributedType.FSDP
    return True


def save_optimizer(
    accelerator: Accelerator, optimizer: optim.Optimizer, model: nn.Module, folder: str
) -> None:
    """Write the whole state of an optimizer over shards; every process calls it, one writes."""
    save_fsdp_optimizer(accelerator.state.fsdp_plugin, accelerator, optimizer, model, folder)
