"""A part of the model while it is written: its tensors, the graph, and the form of its layers.

Reads like the model's own code: a section is a module, ``linear`` and ``norm`` apply its children.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx_ir as ir

from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.graph import GraphBuilder
from adcopilot_edge.export.linear import LinearForm
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.types import FloatArray


@dataclass(frozen=True, slots=True)
class Section:
    """The tensors of ``checkpoint`` below ``prefix``, written into ``graph``."""

    graph: GraphBuilder
    checkpoint: Checkpoint
    form: LinearForm
    prefix: str

    def child(self, name: str) -> Section:
        """The section below ``name``."""
        return replace(self, prefix=f"{self.prefix}.{name}")

    def with_form(self, form: LinearForm) -> Section:
        """The same section with its linear layers in another form."""
        return replace(self, form=form)

    def tensor(self, name: str) -> FloatArray:
        """One tensor, whole."""
        return self.checkpoint.tensor(f"{self.prefix}.{name}")

    def layer(self, *modules: str, name: str | None = None) -> Linear:
        """The linear layers ``modules`` as one product, called ``name`` or as the first of them."""
        paths = tuple(f"{self.prefix}.{module}" for module in modules)
        return Linear(self.checkpoint, f"{self.prefix}.{name or modules[0]}", paths)

    def linear(self, value: ir.Value, *modules: str, name: str | None = None) -> ir.Value:
        """Apply ``layer(*modules)`` to ``value`` (T, inputs); returns (T, outputs)."""
        return self.form.apply(self.graph, value, self.layer(*modules, name=name))

    def norm(self, value: ir.Value, name: str, *, eps: float, use: str = "") -> ir.Value:
        """Apply the RMSNorm ``name``; ``use`` tells the uses of one norm apart."""
        path = f"{self.prefix}.{name}{use}"
        return self.graph.rms_norm(value, self.tensor(f"{name}.weight"), eps, name=path)

    def swiglu(self, value: ir.Value, name: str) -> ir.Value:
        """Apply the gated MLP ``name``, its gate and up projections in one product."""
        mlp = self.child(name)
        stacked = mlp.layer("gate_proj", "up_proj", name="gate_up")
        width = stacked.shape[0] // 2
        product = self.form.apply(self.graph, value, stacked)
        gate, up = self.graph.split(product, (width, width), axis=-1, name=f"{stacked.name}.halves")
        sigmoid = self.graph.op("Sigmoid", [gate], name=f"{stacked.name}.sigmoid")
        silu = self.graph.op("Mul", [gate, sigmoid], name=f"{stacked.name}.silu")
        hidden = self.graph.op("Mul", [silu, up], name=f"{stacked.name}.gated")
        return mlp.linear(hidden, "down_proj")
