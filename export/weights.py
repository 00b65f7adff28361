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
    ``.weight``.
    """

    checkpoint: Checkpoint
    name: str
    modules: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs) of the whole stack; a convolution kernel counts as one long row."""
        shapes = [self.checkpoint.entries[f"{module}.weight"].shape for module in self.modules]
        return sum(shape[0] for shape in shapes), int(np.prod(shapes[0][1:]))

    def chunks(self) -> Iterator[FloatArray]:
        """The rows of the weight matrix in order, (n, inputs) at a time."""
        inputs = self.shape[1]
        for module in self.modules:
            for rows in self.checkpoint.chunks(f"{module}.weight", CHUNK_VALUES // inputs or 1):
                yield rows.reshape(len(rows), inputs)

    def matrix(self) -> FloatArray:
        """The whole weight matrix (outputs, inputs)."""
        return np.concatenate(list(self.chunks()))

    def bias(self) -> FloatArray | None:
        """The bias (outputs,), zero for a module that has none; None when no module has one."""
        names = [f"{module}.bias" for module in self.modules]
        if not any(name in self.checkpoint.entries for name in names):
            return None
        return np.concatenate(
            [
                self.checkpoint.tensor(name)
                if name in self.checkpoint.entries
                else np.zeros(self.checkpoint.entries[f"{module}.weight"].shape[0], np.float32)
                for name, module in zip(names, self.modules, strict=True)
            ]
        )
