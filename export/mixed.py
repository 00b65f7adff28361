"""A vision side in INT8 but for some of its modules, which stay in float.

A module is what falls back as one: an attention with its projections, a gated MLP, the merger.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.graph import GraphBuilder
from adcopilot_edge.export.linear import LinearForm
from adcopilot_edge.export.qdq import is_quantized
from adcopilot_edge.export.recipe import ExportRecipe
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.record import Precision

_ENCODER = "visual.compare_visual_encoder"
_NUMBER = re.compile(r"(\d+)")
_MOST_NAMES = 6


@dataclass(frozen=True, slots=True)
class MixedForm:
    """Layers of the modules in ``kept`` in the form ``floats``, all others in ``int8``."""

    int8: LinearForm
    floats: LinearForm
    kept: frozenset[str]
    precision: ClassVar[Precision] = "int8"

    @property
    def is_apart(self) -> bool:
        """See :class:`linear.LinearForm`; as if nothing were kept."""
        return self.int8.is_apart

    def apply(self, graph: GraphBuilder, value: ir.Value, layer: Linear) -> ir.Value:
        """See :class:`linear.LinearForm`."""
        return self._form_of(layer).apply(graph, value, layer)

    def operand(self, layer: Linear) -> ir.DataType:
        """See :class:`linear.LinearForm`."""
        return self._form_of(layer).operand(layer)

    def weight_bytes(self, outputs: int, inputs: int) -> int:
        """See :class:`linear.LinearForm`; as if nothing were kept."""
        return self.int8.weight_bytes(outputs, inputs)

    def _form_of(self, layer: Linear) -> LinearForm:
        return self.floats if module_of(layer.name) in self.kept else self.int8


def module_of(layer: str) -> str:
    """The module that a linear layer of the vision side falls back with."""
    parent = layer.rpartition(".")[0]
    return layer if parent == _ENCODER else parent


def int8_modules(checkpoint: Checkpoint, recipe: ExportRecipe) -> tuple[str, ...]:
    """The modules that ``recipe`` makes INT8 when nothing is kept, in the order of computing."""
    names = set()
    for name, entry in checkpoint.entries.items():
        layer = name.removesuffix(".weight")
        is_layer = layer != name and len(entry.shape) > 1 and name.startswith("visual.")
        if is_layer and (is_quantized(layer) or not recipe.is_static):
            names.add(module_of(layer))
    names -= {f"{_ENCODER}.anomaly_map", f"{_ENCODER}.type_map"}
    return tuple(sorted(names, key=_place))


def check_modules(kept: Iterable[str], modules: Iterable[str]) -> None:
    """Raise ConfigError for names in ``kept`` that are no modules."""
    known = tuple(modules)
    if unknown := sorted(set(kept) - set(known)):
        shown = ", ".join(known[:_MOST_NAMES])
        raise ConfigError(
            f"the vision side has no INT8 module {', '.join(unknown)}. There are {len(known)}: "
            f"{shown}{', ...' if len(known) > _MOST_NAMES else ''}"
        )


def _place(module: str) -> tuple[int, list[str | int]]:
    """Sorts patch embedding, blocks, merger, then the Comparison Encoder."""
    words = ("visual.patch_embed", "visual.blocks", "visual.merger", _ENCODER)
    place = next(index for index, word in enumerate(words) if module.startswith(word))
    return place, [int(part) if part.isdecimal() else part for part in _NUMBER.split(module)]
