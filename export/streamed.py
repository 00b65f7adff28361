"""A checkpoint's torch model whose weights come when a module runs, within a memory budget.

Modules that fit into the budget keep their weights; of the others one holds them at a time. What a
module computes is upstream's own code, so that a model of any size can serve as the reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.tensors import our_name
from adcopilot_edge.export.weights import CHUNK_VALUES
from adcopilot_edge.training.model import ADCopilotForConditionalGeneration

EMBEDDING = "language_model.embed_tokens.weight"


def streamed_model(
    checkpoint: Checkpoint, *, budget_bytes: int, vision_dtype: torch.dtype
) -> ADCopilotForConditionalGeneration:
    """The model of ``checkpoint`` in evaluation mode; the language model computes in float32.

    Args:
        checkpoint: Where the weights are.
        budget_bytes: What the weights that stay in memory may take together. The largest single
            module comes on top.
        vision_dtype: In what the vision side computes.
    """
    model = _shell(checkpoint, vision_dtype)
    # Rotary tables are no weights: computed anew, in real memory.
    visual, text = model.model.visual, model.model.language_model
    visual.rotary_pos_emb = type(visual.rotary_pos_emb)(checkpoint.vision).to(vision_dtype)
    text.rotary_emb = type(text.rotary_emb)(checkpoint.config.text)
    text.embed_tokens = _Rows(checkpoint)
    model.lm_head = _Head(checkpoint)
    for name, module in _units(model):
        unit = _Unit(checkpoint, name, module)
        stays = unit.num_bytes <= budget_bytes
        if stays:
            budget_bytes -= unit.num_bytes
        module.register_forward_pre_hook(unit.load)
        if not stays:
            module.register_forward_hook(unit.release)
    return model.eval()


def unit_bytes(checkpoint: Checkpoint, *, vision_dtype: torch.dtype) -> list[int]:
    """What the weights of each module that is loaded as one take, in bytes."""
    return [
        _Unit(checkpoint, name, module).num_bytes
        for name, module in _units(_shell(checkpoint, vision_dtype))
    ]


def _shell(checkpoint: Checkpoint, vision_dtype: torch.dtype) -> ADCopilotForConditionalGeneration:
    """The model without its weights: every parameter knows its shape and type only."""
    with torch.device("meta"):
        model = ADCopilotForConditionalGeneration._from_config(
            checkpoint.config, attn_implementation="sdpa", dtype=torch.float32
        )
    assert isinstance(model, ADCopilotForConditionalGeneration)
    model.model.visual.to(vision_dtype)
    return model


def _units(model: ADCopilotForConditionalGeneration) -> Iterator[tuple[str, nn.Module]]:
    """The modules whose weights come and go as one: blocks, and what stands beside them."""
    visual, text = model.model.visual, model.model.language_model
    yield "model.visual.patch_embed", visual.patch_embed
    for index, block in enumerate(visual.blocks):
        yield f"model.visual.blocks.{index}", block
    yield "model.visual.merger", visual.merger
    if visual.compare_visual_encoder is not None:
        yield "model.visual.compare_visual_encoder", visual.compare_visual_encoder
    for index, layer in enumerate(text.layers):
        yield f"model.language_model.layers.{index}", layer
    yield "model.language_model.norm", text.norm


class _Unit:
    """One module and where its weights are; its methods are forward hooks."""

    def __init__(self, checkpoint: Checkpoint, name: str, module: nn.Module) -> None:
        self._checkpoint = checkpoint
        self._name = name
        self._shells = dict(module.named_parameters())
        self.num_bytes = sum(item.numel() * item.itemsize for item in self._shells.values())

    def load(self, module: nn.Module, _: Any) -> None:
        """Read the weights, unless they are there already."""
        for name, shell in self._shells.items():
            owner, leaf = _owner(module, name)
            if owner._parameters[leaf] is shell:
                owner._parameters[leaf] = nn.Parameter(self._read(name, shell), requires_grad=False)

    def release(self, module: nn.Module, _: Any, __: Any) -> None:
        """Give the memory back."""
        for name, shell in self._shells.items():
            owner, leaf = _owner(module, name)
            owner._parameters[leaf] = shell

    def _read(self, name: str, shell: Tensor) -> Tensor:
        path = our_name(f"{self._name}.{name}")
        if path not in self._checkpoint.entries:
            return torch.zeros(shell.shape, dtype=shell.dtype)  # a bias that the family lacks
        return torch.from_numpy(self._checkpoint.tensor(path)).to(shell.dtype)


def _owner(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The submodule that holds the parameter ``name``, and its name there."""
    path, _, leaf = name.rpartition(".")
    return module.get_submodule(path), leaf


class _Rows(nn.Module):
    """The embedding table, of which only the rows asked for are read."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self._checkpoint = checkpoint

    def forward(self, ids: Tensor) -> Tensor:
        """Rows (B, T, D) of ids (B, T)."""
        known, places = ids.unique(return_inverse=True)
        rows = self._checkpoint.rows(EMBEDDING, known.tolist())
        return torch.from_numpy(rows)[places]


class _Head(nn.Module):
    """The output head, some rows at a time: at full size it is the largest matrix."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self._checkpoint = checkpoint

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden (..., D)."""
        name = self._checkpoint.head_name
        rows = CHUNK_VALUES // hidden.shape[-1] or 1
        parts = [
            hidden @ torch.from_numpy(chunk).T for chunk in self._checkpoint.chunks(name, rows)
        ]
        return torch.cat(parts, dim=-1)
