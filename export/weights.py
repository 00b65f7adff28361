"""A checkpoint's weights as the graph writers ask for them: by module, stacked, in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.types import FloatArray

# 64 MiB of float32: what a chunk of a matrix takes in memory while it is converted.
CHUNK_VALUES = 1 << 24


@dataclass(frozen=True, slots=True)
class Linear:
    """The weights of a linear layer, or of several with the same input, stacked along the output.

    name: what the layer is called in the graph. modules: their names in the checkpoint, without
    ``.weight``. extra_outputs, extra_inputs: zero rows behind each module, zero columns.
    """

    checkpoint: Checkpoint
    name: str
    modules: tuple[str, ...]
    extra_outputs: int = 0
    extra_inputs: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs) of the whole stack; a convolution kernel counts as one long row."""
        shapes = [self.checkpoint.entries[f"{module}.weight"].shape for module in self.modules]
        outputs = sum(shape[0] + self.extra_outputs for shape in shapes)
        return outputs, int(np.prod(shapes[0][1:])) + self.extra_inputs

    def chunks(self) -> Iterator[FloatArray]:
        """The rows of the weight matrix in order, (n, inputs) at a time."""
        inputs = self.shape[1]
        for module in self.modules:
            for rows in self.checkpoint.chunks(f"{module}.weight", CHUNK_VALUES // inputs or 1):
                matrix = rows.reshape(len(rows), -1)
                yield (
                    np.pad(matrix, ((0, 0), (0, self.extra_inputs)))
                    if self.extra_inputs
                    else (matrix)
                )
            if self.extra_outputs:
                yield np.zeros((self.extra_outputs, inputs), np.float32)

    def matrix(self) -> FloatArray:
        """The whole weight matrix (outputs, inputs)."""
        return np.concatenate(list(self.chunks()))

    def bias(self) -> FloatArray | None:
        """The bias (outputs,), zero for a module that has none; None when no module has one."""
        if not any(f"{module}.bias" in self.checkpoint.entries for module in self.modules):
            return None
        return np.concatenate([self._module_bias(module) for module in self.modules])

    def _module_bias(self, module: str) -> FloatArray:
        """The bias of one module, with zeros behind it."""
        outputs = self.checkpoint.entries[f"{module}.weight"].shape[0]
        bias = np.zeros(outputs + self.extra_outputs, np.float32)
        if f"{module}.bias" in self.checkpoint.entries:
            bias[:outputs] = self.checkpoint.tensor(f"{module}.bias")
        return bias
