"""The parts of a model that a stage may train, by their parameters' names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from torch import nn

Part = Literal["tower", "comparison", "queries", "merger", "language"]
"""tower: the vision tower up to its last block. comparison: the two image-to-image attentions and
the anomaly map. queries: the learned queries, their decoder and the projector. merger: the tower's
merged tokens. language: the language model with its head."""

PARTS: tuple[Part, ...] = get_args(Part)

_QUERY_SIDE = ("query_embeddings", "patch_places", "decoder_", "compare_projector", "told_map")


def part_of(name: str) -> Part:
    """The part that the parameter ``name`` of an AD-Copilot model belongs to."""
    path = name.removeprefix("model.")
    if not path.startswith("visual."):
        return "language"
    path = path.removeprefix("visual.")
    if path.startswith("merger."):
        return "merger"
    if not path.startswith("compare_visual_encoder."):
        return "tower"
    inner = path.removeprefix("compare_visual_encoder.")
    return "queries" if inner.startswith(_QUERY_SIDE) else "comparison"


def train_only(model: nn.Module, parts: Sequence[Part]) -> None:
    """Let ``parts`` learn and freeze everything else."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) in parts)


def trainable(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that learn, with their names."""
    return ((name, item) for name, item in model.named_parameters() if item.requires_grad)
