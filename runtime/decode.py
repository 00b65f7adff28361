"""The language model as a loop over embeddings and ids; knows nothing of images or text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

import numpy as np

from adcopilot_edge.errors import SessionError
from adcopilot_edge.manifest import ModelSpec
from adcopilot_edge.positions import rotary_tables
from adcopilot_edge.runtime.cache import KVCache
from adcopilot_edge.runtime.device_array import DeviceArray
from adcopilot_edge.runtime.drain import drain
from adcopilot_edge.runtime.embedding import EmbeddingTable
from adcopilot_edge.runtime.session import GraphSession, OpenGraph
from adcopilot_edge.runtime.tensors import OnDevice
from adcopilot_edge.runtime.threads import Threads
from adcopilot_edge.types import FloatArray, IntArray


class Guide(Protocol):
    """A rule that chooses the tokens of one answer, in place of the plain greedy one."""

    @property
    def is_done(self) -> bool:
        """True when the answer is whole, also without an end token."""
        ...

    def choose(self, logits: FloatArray) -> int:
        """Return the id of the next token, which is taken; ``logits`` are (V,)."""
        ...


@dataclass(frozen=True, slots=True)
class Generation:
    """Generated ids, the end token included, and whether they are whole: else a limit stopped it.

    An answer is whole with its end token, or when its guide says so.
    """

    ids: tuple[int, ...]
    is_complete: bool


class Decoder:
    """The decoder graph with its cache: one sequence that grows and is cut back.

    Args:
        path: The decoder graph.
        model: Shapes and rotary constants.
        embedding: Table of the generated tokens' embeddings.
        provider: As for ``GraphSession``.
        num_threads: As for ``GraphSession``.
        open_graph: How the graph is opened.

    Raises:
        SessionError: The graph can't be used, or lacks an input or output.
    """

    def __init__(
        self,
        path: Path,
        model: ModelSpec,
        embedding: EmbeddingTable,
        *,
        provider: str,
        num_threads: Threads,
        open_graph: OpenGraph = GraphSession,
    ) -> None:
        session = open_graph(
            path, provider=provider, num_threads=num_threads, has_fixed_shapes=False
        )
        session.require(
            inputs=["embeds", "cos", "sin", "seqlens_k", "total_sequence_length", "past_key.0"],
            outputs=["logits"],
        )
        self.cache = KVCache(model, session.inputs["past_key.0"].dtype, session.provider)
        self._graph = session.bind(self.cache.buffers)
        self._model = model
        self._embedding = embedding
        self._joined: DeviceArray | None = None

    def prefill(
        self, embeds: FloatArray | Sequence[FloatArray], position_ids: IntArray
    ) -> FloatArray:
        """Append tokens to the sequence.

        Args:
            embeds: (S, D) float32, or the parts of it one behind the other; parts that lie on the
                decoder's device stay there.
            position_ids: (3, S) int64, the M-RoPE ids of the same tokens.

        Returns:
            The logits (V,) float32 behind the last token.

        Raises:
            InputError: The sequence gets longer than the bundle allows.
            SessionError: The graph fails, or its logits are not finite.
        """
        cos, sin = rotary_tables(
            position_ids,
            theta=self._model.rope_theta,
            sections=self._model.mrope_section,
            head_dim=self._model.head_dim,
        )
        end = self.cache.put_rotary(cos, sin)
        outputs = self._graph.run(
            {
                "embeds": self._join([embeds] if isinstance(embeds, np.ndarray) else embeds),
                "cos": self.cache.cos,
                "sin": self.cache.sin,
                "seqlens_k": np.array([end - 1], dtype=np.int32),
                "total_sequence_length": np.array(end, dtype=np.int32),
            }
        )
        self.cache.length = end
        logits: FloatArray = outputs["logits"][0]
        # A NaN compares as "below the threshold": a bad part would pass.
        if not np.isfinite(logits).all():
            raise SessionError(
                "the decoder's logits are not finite. If its precision is fp16 or int8, export "
                "the bundle again with a higher one"
            )
        return logits

    def _join(self, parts: Sequence[FloatArray]) -> FloatArray:
        """The embeddings (1, S, D) of all parts, on the device where one of them is."""
        where = {part.device for part in parts if isinstance(part, OnDevice)}
        if not where:
            return np.concatenate(parts)[np.newaxis]
        width = self._model.hidden_size
        if self._joined is None:
            self._joined = DeviceArray((self.cache.capacity, width), np.float32, *where)
        num_rows = self._joined.join(parts)
        return self._joined.view((1, num_rows, width))  # type: ignore[return-value]

    def generate(
        self, logits: FloatArray, *, position: int, end: Collection[int], max_new_tokens: int
    ) -> Generation:
        """Continue greedily, all steps of ``generating`` at once."""
        return drain(
            self.generating(logits, position=position, end=end, max_new_tokens=max_new_tokens)
        )

    def generating(
        self,
        logits: FloatArray,
        *,
        position: int,
        end: Collection[int],
        max_new_tokens: int,
        guide: Guide | None = None,
        may_go_on: Callable[[], bool] | None = None,
    ) -> Generator[int, None, Generation]:
        """Continue, one token a step.

        Args:
            logits: (V,) behind the last token, as ``prefill`` returned them.
            position: The id, on all three axes, of the first new token; the others count on.
            end: Ids that end the generation.
            max_new_tokens: Limit of new tokens, at least 1; the sequence length is another limit.
            guide: Chooses the tokens and may end the generation; None takes the greedy ones.
            may_go_on: Asked before each run of the graph; false stops the generation.

        Yields:
            Each id as it is chosen, before the graph runs on.

        Raises:
            SessionError: The graph fails.
        """
        ids: list[int] = []
        for place in count(position):
            ids.append(int(np.argmax(logits)) if guide is None else guide.choose(logits))
            yield ids[-1]
            if ids[-1] in end or (guide is not None and guide.is_done):
                return Generation(tuple(ids), is_complete=True)
            if len(ids) >= max_new_tokens or self.cache.length == self.cache.capacity:
                break
            if may_go_on is not None and not may_go_on():
                break
            row = self._embedding.rows(np.array(ids[-1:], dtype=np.int64))
            logits = self.prefill(row, np.full((3, 1), place, dtype=np.int64))
        return Generation(tuple(ids), is_complete=False)
