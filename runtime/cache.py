"""The decoder's memory of one token sequence: keys, values and rotary rows in fixed buffers.

Knows shapes only: not what the tokens mean, nor how the graph computes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from adcopilot_edge.errors import QuestionError
from adcopilot_edge.manifest import ModelSpec
from adcopilot_edge.runtime.bound import Buffer
from adcopilot_edge.runtime.tensors import AnyArray
from adcopilot_edge.types import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class KVPrefix:
    """The start of a sequence, copied out of a cache, to continue from any number of times.

    blocks: by name of the graph's input, (1, KV heads, T, head_dim). cos, sin: (T, head_dim / 2)
    float32, the rotary rows of the same tokens.
    """

    blocks: dict[str, AnyArray]
    cos: FloatArray
    sin: FloatArray

    @property
    def length(self) -> int:
        """T, the number of tokens."""
        return len(self.cos)

    @property
    def num_bytes(self) -> int:
        """Memory that the arrays take."""
        blocks = sum(block.nbytes for block in self.blocks.values())
        return blocks + self.cos.nbytes + self.sin.nbytes


class KVCache:
    """Keys, values and rotary rows of up to ``max_sequence_length`` tokens.

    The graph writes keys and values into the buffers itself. Going back to an earlier length costs
    nothing: what lies behind it is never read and soon overwritten.
    """

    def __init__(self, model: ModelSpec, dtype: DTypeLike, provider: str) -> None:
        self.length = 0
        self.capacity = model.max_sequence_length
        shape = (1, model.num_kv_heads, self.capacity, model.head_dim)
        self.buffers: dict[tuple[str, str], Buffer] = {
            (f"past_{kind}.{layer}", f"present_{kind}.{layer}"): Buffer(shape, dtype, provider)
            for layer in range(model.num_layers)
            for kind in ("key", "value")
        }
        self.cos = np.zeros((self.capacity, model.head_dim // 2), dtype=np.float32)
        self.sin = np.zeros_like(self.cos)
        self._loaded: KVPrefix | None = None

    def put_rotary(self, cos: FloatArray, sin: FloatArray) -> int:
        """Write the rotary rows (S, head_dim / 2) of the next S tokens; return the new length.

        ``length`` itself moves on only when the caller sets it, after the graph has run.

        Raises:
            QuestionError: The tokens do not fit in any more.
        """
        end = self.length + len(cos)
        if end > self.capacity:
            raise QuestionError(
                f"the prompt has {end} tokens, the bundle takes {self.capacity}. Ask a shorter "
                "question, or export the bundle with a longer sequence"
            )
        self.cos[self.length : end] = cos
        self.sin[self.length : end] = sin
        return end

    def truncate(self, length: int) -> None:
        """Forget all tokens from ``length`` on."""
        self.length = min(self.length, length)
        if self._loaded is not None and self.length < self._loaded.length:
            self._loaded = None

    def snapshot(self) -> KVPrefix:
        """Return a copy of all tokens so far."""
        blocks = {name: buffer.read(0, self.length) for (name, _), buffer in self.buffers.items()}
        return KVPrefix(blocks, self.cos[: self.length].copy(), self.sin[: self.length].copy())

    def load(self, prefix: KVPrefix) -> None:
        """Make ``prefix`` the whole sequence; without a copy when it is already its start."""
        if prefix is not self._loaded:
            self._loaded = None  # until all of it is written
            for (name, _), buffer in self.buffers.items():
                buffer.write(0, prefix.blocks[name])
            self.cos[: prefix.length] = prefix.cos
            self.sin[: prefix.length] = prefix.sin
            self._loaded = prefix
        self.length = prefix.length
