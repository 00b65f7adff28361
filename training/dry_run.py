"""What a recipe would train, how long, in how much memory: the answer to ``train --dry-run``.

The model is built without values, and its data are not read where the recipe says how many samples
they have. Bytes of a device, for N devices, P parameters that learn and F that do not:

- weights: 4 P, and 2 F where a checkpoint is trained in bf16, else 4 F;
- gradients: 4 P;
- optimizer: 8 P, the two moments of AdamW in float32;
- copies: with bf16 autocast's copies of what learns, 2 P. In shards instead what is gathered at
  once: the units outside of all blocks and two blocks, the present and the next one, in the type of
  the products;
- activations: see ``activations``; for GRPO the key-value cache of the answers in the type of the
  products, if it is larger.

``ddp`` holds all of it on every device, ``fsdp`` an Nth of weights, gradients and optimizer.
Not counted: what kernels take while they run, and what the allocator holds back.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.activations import SampleShape, activation_bytes
from adcopilot_edge.training.base import start_config
from adcopilot_edge.training.config import ADCopilotConfig
from adcopilot_edge.training.dialogues import open_dialogues
from adcopilot_edge.training.mixture import Mixture
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration
from adcopilot_edge.training.model_parts import PARTS, part_of
from adcopilot_edge.training.recipe import TrainRecipe
from adcopilot_edge.training.stage_checks import check_stages
from adcopilot_edge.training.stage_model import start_stage
from adcopilot_edge.training.stage_recipe import DataRecipe, StageRecipe

Sharing = Literal["one", "ddp", "fsdp"]
"""How devices share a model: there is one, each has all of it, or each has a part."""

DEVICES = (1, 4, 8)
TEXT_TOKENS = 512
"""The tokens of text that a sample is taken to have beside its images, half of them answers."""

_FLOAT, _MOMENTS, _HALF = 4, 8, 2
_BLOCKS = (".layers.", ".blocks.")


@dataclass(frozen=True, slots=True)
class PartCount:
    """Parameters of a part: all without adapters, those that learn in full, those of adapters."""

    part: str
    total: int
    full: int
    adapters: int


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Estimated bytes of each of ``devices`` devices; see the module. accumulation: of a step."""

    devices: int
    parallel: Sharing
    accumulation: int
    weights: int
    gradients: int
    optimizer: int
    copies: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.copies + self.activations


@dataclass(frozen=True, slots=True)
class StageDryRun:
    """A stage: its steps and samples, what learns, and what it takes.

    sample: what the estimate of the activations takes a sample to be.
    """

    name: str
    method: str
    steps: int
    samples: int
    sample: SampleShape
    parts: tuple[PartCount, ...]
    memory: tuple[DeviceMemory, ...]

    @property
    def total(self) -> int:
        """Parameters of the model, without adapters."""
        return sum(part.total for part in self.parts)

    @property
    def learning(self) -> int:
        """Parameters that learn."""
        return sum(part.full + part.adapters for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """The stage as a JSON object."""
        return {
            **asdict(self),
            "parameters": self.total,
            "trained": self.learning,
            "memory": [{**asdict(item), "total": item.total} for item in self.memory],
        }


def dry_run(recipe: TrainRecipe) -> list[StageDryRun]:
    """The stages of ``recipe``.

    Raises:
        CheckpointError: It starts from a checkpoint that is not there, and names no shape.
        ConfigError: A stage does not fit the model, a step not one device, or nobody knows how
            many samples its data have.
        DatasetError: A folder of dialogues is damaged.
    """
    config = start_config(recipe)
    stages = tuple(
        stage if stage.steps else stage.with_steps(_steps(stage, recipe.seed))
        for stage in recipe.stages
    )
    recipe = recipe.model_copy(update={"stages": stages})
    check_stages(recipe, config.vision, num_devices=1)
    return [_stage(recipe, stage, config) for stage in stages]


def commands(
    words: Sequence[str], *, parallel: Sharing, devices: Sequence[int] = DEVICES
) -> dict[int, list[str]]:
    """What starts ``train`` with ``words`` on each number of devices, in either of two ways."""
    given = shlex.join(words)
    found = {1: [f"adcopilot-edge train {given}"]}
    module = f"-m adcopilot_edge train {given} --parallel {parallel}"
    for number in devices:
        if number > 1:
            found[number] = [
                f"accelerate launch --num_processes {number} {module}",
                f"torchrun --nproc-per-node {number} {module}",
            ]
    return found


def _stage(recipe: TrainRecipe, stage: StageRecipe, config: ADCopilotConfig) -> StageDryRun:
    is_from_checkpoint = recipe.base is not None
    with torch.device("meta"):
        model = ADCopilotForConditionalGeneration(config)
    totals = Counter(dict.fromkeys(PARTS, 0))
    for name, parameter in model.named_parameters():
        totals[part_of(name)] += parameter.numel()
    start_stage(model, stage, is_from_checkpoint=is_from_checkpoint)
    full, adapters = Counter[str](), Counter[str]()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (adapters if ".lora_" in name else full)[part_of(name)] += parameter.numel()
    shape = _sample_shape(recipe, stage, config)
    return StageDryRun(
        name=stage.name,
        method=stage.method,
        steps=stage.steps,
        samples=stage.steps * stage.batch_size,
        sample=shape,
        parts=tuple(
            PartCount(part, totals[part], full[part], adapters[part])
            for part in PARTS
            if totals[part]
        ),
        memory=_memory(model, stage, shape),
    )


def _steps(stage: StageRecipe, seed: int) -> int:
    """The steps of a stage that has epochs."""
    sizes = [_size(item) for item in stage.data]
    mixture = Mixture([item.weight for item in stage.data], sizes, seed)
    return mixture.num_steps(stage.epochs, stage.batch_size)


def _size(item: DataRecipe) -> int | None:
    """How many samples a source has; by its count where its folder is not there."""
    if item.kind != "chat-ad":
        return item.count
    assert item.path is not None
    if Path(item.path).is_dir():
        return open_dialogues(item.path, split=item.split, tasks=item.tasks, count=item.count).size
    if item.count is None:
        raise ConfigError(
            f"{item.path} is not there, and its data has no count; name the folder with "
            "--data chat-ad=FOLDER, or say count in the recipe"
        )
    return item.count


def _sample_shape(recipe: TrainRecipe, stage: StageRecipe, config: ADCopilotConfig) -> SampleShape:
    """A sample of two images as large as they may be."""
    patch, merge = config.vision.patch_size, config.vision.spatial_merge_size
    assert isinstance(patch, int)
    cells = (stage.max_pixels or (stage.image_size or recipe.image_size) ** 2) // (
        patch * merge
    ) ** 2
    text = stage.grpo.max_new_tokens if stage.grpo else TEXT_TOKENS // 2
    return SampleShape(
        patches=cells * merge**2,
        tokens=2 * (cells + config.vision.compare_token_size) + TEXT_TOKENS // 2 + text,
        answers=text,
    )


def _memory(
    model: ADCopilotForConditionalGeneration, stage: StageRecipe, shape: SampleShape
) -> tuple[DeviceMemory, ...]:
    """The estimate for every number of devices that a step divides into.

    ``model`` is used up by it.
    """
    learning = sum(item.numel() for item in model.parameters() if item.requires_grad)
    weights = sum(item.numel() * item.dtype.itemsize for item in model.parameters())
    is_half = stage.precision == "bf16"
    gathered = _gathered_bytes(model, _HALF if is_half else _FLOAT)
    if is_half:
        for item in model.parameters():
            item.data = item.data.to(torch.bfloat16)
    found: list[DeviceMemory] = []
    for devices in filter(stage.divides, DEVICES):
        accumulation = stage.accumulation(devices)
        batch = stage.step_size // (devices * accumulation)
        activations = max(
            activation_bytes(model, stage, shape, batch), _cache_bytes(model, stage, shape, batch)
        )
        for parallel in _ways(stage, devices):
            parts = devices if parallel == "fsdp" else 1
            found.append(
                DeviceMemory(
                    devices=devices,
                    parallel=parallel,
                    accumulation=accumulation,
                    weights=-(-weights // parts),
                    gradients=-(-_FLOAT * learning // parts),
                    optimizer=-(-_MOMENTS * learning // parts),
                    copies=gathered if parts > 1 else is_half * _HALF * learning,
                    activations=activations,
                )
            )
    return tuple(found)


def _ways(stage: StageRecipe, devices: int) -> tuple[Sharing, ...]:
    if devices == 1:
        return ("one",)
    return ("ddp", "fsdp") if stage.can_shard else ("ddp",)


def _gathered_bytes(model: nn.Module, itemsize: int) -> int:
    """What lies on a device whole at once: all outside of blocks, and two of the largest blocks."""
    sizes: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        mark = next((mark for mark in _BLOCKS if mark in name), None)
        block = ""
        if mark is not None:
            before, _, behind = name.partition(mark)
            block = f"{before}{mark}{behind.partition('.')[0]}"
        sizes[block] += parameter.numel() * itemsize
    outside = sizes.pop("", 0)
    return outside + 2 * max(sizes.values(), default=0)


def _cache_bytes(
    model: ADCopilotForConditionalGeneration, stage: StageRecipe, shape: SampleShape, batch: int
) -> int:
    """Keys and values of every token of the answers that are drawn at once; 0 without GRPO."""
    if stage.method != "grpo":
        return 0
    text = model.config.text
    head = text.hidden_size // text.num_attention_heads
    heads = text.num_key_value_heads or text.num_attention_heads
    values = 2 * text.num_hidden_layers * heads * head
    return values * shape.tokens * batch * next(model.parameters()).dtype.itemsize
