"""Low-rank adapters in a model: put in by parts, stored in peft's format, added to the weights.

They are put into the model itself, not around it, so that whatever runs a model runs one with
adapters. Knows no stages and no loops.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save
from torch import Tensor, nn

from adcopilot_edge.errors import CheckpointError, ConfigError
from adcopilot_edge.training.lora_recipe import LoraRecipe
from adcopilot_edge.training.model_parts import Part

_MLP = ("gate_proj", "up_proj", "down_proj")
_CROSS = ("q_proj", "kv", "proj")

PART_TARGETS: dict[Part, tuple[str, ...]] = {
    "tower": ("qkv", "proj", *_MLP),
    "comparison": (*_CROSS, *_MLP),
    "queries": (*_CROSS, *_MLP, "compare_projector"),
    "merger": ("0", "2"),
    "language": ("q_proj", "k_proj", "v_proj", "o_proj", *_MLP),
}
"""The linear layers of each part that get an adapter: all that are matrices of the model's width.
The patch embedding, the anomaly map, the learned queries, the embedding table and the head get
none."""

_PLACES: dict[Part, str] = {
    "tower": r"model\.visual\.blocks\..*\.",
    "comparison": r"model\.visual\.compare_visual_encoder\.encoder_.*\.",
    "queries": r"model\.visual\.compare_visual_encoder\.(decoder_.*\.)?",
    "merger": r"model\.visual\.merger\.mlp\.",
    "language": r"model\.language_model\.layers\..*\.",
}
_PREFIX = "base_model.model."
_WEIGHTS_FILE = "adapter_model.safetensors"
_NAME = "default"
_FACTOR = re.compile(rf"\.lora_(?P<side>[AB])\.{_NAME}\.weight$")


def targets_of(lora: LoraRecipe) -> str:
    """The expression that the whole names of the modules with adapters match."""
    places = []
    for part in lora.parts:
        names = lora.targets or PART_TARGETS[part]
        places.append(f"{_PLACES[part]}({'|'.join(map(re.escape, names))})")
    return "|".join(places)


def lora_config(lora: LoraRecipe, *, base: str | None = None) -> LoraConfig:
    """Peft's configuration. base: what the adapter belongs to, in words."""
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets_of(lora),
        base_model_name_or_path=base,
    )


def adapted_modules(model: nn.Module, lora: LoraRecipe) -> Iterator[tuple[str, nn.Linear]]:
    """The linear layers of a plain model that ``lora`` gives an adapter, with their names."""
    expression = re.compile(targets_of(lora))
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and expression.fullmatch(name):
            yield name, module


def add_adapters(model: nn.Module, lora: LoraRecipe) -> None:
    """Put fresh adapters into ``model``, which then computes what it did before.

    Raises ConfigError for a target that no layer of the parts is called.
    """
    found = [name for name, _ in adapted_modules(model, lora)]
    last = {name.rpartition(".")[2] for name in found}
    wanted = lora.targets or tuple(name for part in lora.parts for name in PART_TARGETS[part])
    if missing := sorted(set(wanted) - last):
        raise ConfigError(
            f"no linear layer of {', '.join(lora.parts)} is called {', '.join(missing)}; "
            f"there are: {', '.join(sorted(last)) or 'none of them'}"
        )
    # A model without values gets adapters without.
    is_empty = next(model.parameters()).is_meta
    inject_adapter_in_model(
        lora_config(lora), model, adapter_name=_NAME, low_cpu_mem_usage=is_empty
    )


def merge_adapters(model: nn.Module) -> None:
    """Add every adapter to its layer's weights and take it out; the model is a plain one again."""
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            model.set_submodule(name, module.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config


def merged_state(state: Mapping[str, Tensor], lora: LoraRecipe) -> dict[str, Tensor]:
    """The tensors of the plain model with the adapters of ``state`` added, by their plain names.

    For weights that were gathered from several devices, where no module holds them whole.
    """
    merged = {}
    for name, tensor in state.items():
        if _FACTOR.search(name):
            continue
        module = name.removesuffix(".base_layer.weight")
        up = state.get(f"{module}.lora_B.{_NAME}.weight")
        if module != name and up is not None:
            down = state[f"{module}.lora_A.{_NAME}.weight"]
            product = (lora.alpha / lora.rank) * (up.float() @ down.float())
            tensor = (tensor.float() + product).to(tensor.dtype)
        merged[name.replace(".base_layer.", ".")] = tensor
    return merged


def plain_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the plain model without the adapters, by their plain names."""
    return {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in state.items()
        if not _FACTOR.search(name)
    }


def save_adapter(
    folder: Path, state: Mapping[str, Tensor], lora: LoraRecipe, *, base: str | None = None
) -> None:
    """Write the adapters of ``state`` to ``folder`` in peft's format, as ``export`` reads it.

    base: what they belong to, in words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    factors = {
        _PREFIX + _FACTOR.sub(r".lora_\g<side>.weight", name): tensor.detach().contiguous()
        for name, tensor in state.items()
        if _FACTOR.search(name)
    }
    # As bytes: the library's own writer makes files that only their owner reads.
    (folder / _WEIGHTS_FILE).write_bytes(save(factors, metadata={"format": "pt"}))
    config = lora_config(lora, base=base)
    config.inference_mode = True
    config.save_pretrained(os.fspath(folder))


def load_adapter(model: nn.Module, folder: Path) -> None:
    """Fill the adapters of ``model`` with those in ``folder``.

    Raises CheckpointError when they are others.
    """
    stored = load_file(folder / _WEIGHTS_FILE)
    wanted = {
        _PREFIX + _FACTOR.sub(r".lora_\g<side>.weight", name): parameter
        for name, parameter in model.named_parameters()
        if _FACTOR.search(name)
    }
    shapes = {name: parameter.shape for name, parameter in wanted.items()}
    if shapes != {name: tensor.shape for name, tensor in stored.items()}:
        raise CheckpointError(
            f"{folder / _WEIGHTS_FILE} holds the adapters of other layers or of another rank than "
            "this stage's lora table says"
        )
    for name, parameter in wanted.items():
        parameter.data.copy_(stored[name])
