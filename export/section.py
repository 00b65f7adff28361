"""A part of the model while it is written: its tensors, the graph, and how that computes.

Reads like the model's own code: a section is a module, ``linear`` and ``norm`` apply its children.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.dialect import Dialect
from adcopilot_edge.export.graph import GraphBuilder
from adcopilot_edge.export.linear import LinearForm
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.types import FloatArray


@dataclass(frozen=True, slots=True)
class Section:
    """The tensors of ``checkpoint`` below ``prefix``, written into ``graph``.

    form: how linear layers compute. dialect: in which operators everything else is written.
    """

    graph: GraphBuilder
    checkpoint: Checkpoint
    form: LinearForm
    dialect: Dialect
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
        gain = self.tensor(f"{name}.weight")
        return self.dialect.rms_norm(self.graph, value, gain, eps, name=path)

    def swiglu(self, value: ir.Value, name: str) -> ir.Value:
        """Apply the gated MLP ``name``, its gate and up projections in one product or two."""
        mlp, graph = self.child(name), self.graph
        down = mlp.layer("down_proj")
        padding = -down.shape[1] % self.dialect.width_multiple
        down = replace(down, extra_inputs=padding)
        stacked = replace(mlp.layer("gate_proj", "up_proj", name="gate_up"), extra_outputs=padding)
        halves = self._halves(value, stacked)
        # What is multiplied here is the down projection's input, and must not overflow before it.
        gate, up = (
            graph.cast(half, self.form.operand(down), name=f"{stacked.name}.{side}")
            for side, half in zip(("gate", "up"), halves, strict=True)
        )
        sigmoid = graph.op("Sigmoid", [gate], name=f"{stacked.name}.sigmoid")
        silu = graph.op("Mul", [gate, sigmoid], name=f"{stacked.name}.silu")
        hidden = graph.op("Mul", [silu, up], name=f"{stacked.name}.gated")
        return self.form.apply(graph, hidden, down)

    def _halves(self, value: ir.Value, stacked: Linear) -> Sequence[ir.Value]:
        """The products of ``value`` with each of the two modules of ``stacked``."""
        if self.form.is_apart:
            layers = [
                replace(stacked, name=module, modules=(module,)) for module in stacked.modules
            ]
            return [self.form.apply(self.graph, value, layer) for layer in layers]
        width = stacked.shape[0] // 2
        product = self.form.apply(self.graph, value, stacked)
        return self.graph.split(product, (width, width), axis=-1, name=f"{stacked.name}.halves")
