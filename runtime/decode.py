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
from adcopilot_edge.runtime.tensors import AnyArray, as_on_device
from adcopilot_edge.runtime.threads import Threads
from adcopilot_edge.types import FloatArray, IntArray

# Embeddings of tokens, or their ids.
Embeds = FloatArray | IntArray


class Guide(Protocol):
    """A rule that chooses the tokens of one answer, in place of the plain greedy one."""

    @property
    def is_done(self) -> bool:
        """True when the answer is whole, also without an end token."""
        ...

    def choose(self, logits: FloatArray) -> int:
        """Return the id of the next token, which is taken; ``logits`` (V,) hold until then."""
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
        # Written in place by every run. An array that stays the same one is bound only once.
        self._embeds = np.zeros((1, self.cache.capacity, model.hidden_size), dtype=np.float32)
        self._row = self._embeds[:, :1]
        self._last_index = np.zeros(1, dtype=np.int32)
        self._num_tokens = np.zeros((), dtype=np.int32)
        self._joined: DeviceArray | None = None

    def prefill(self, embeds: Embeds | Sequence[Embeds], position_ids: IntArray) -> FloatArray:
        """Append tokens to the sequence.

        Args:
            embeds: (S, D) float32, or (S,) int64, the ids of tokens whose embeddings are meant, or
                parts of either kind one behind the other; parts that lie on the decoder's device
                stay there.
            position_ids: (3, S) int64, the M-RoPE ids of the same tokens.

        Returns:
            The logits (V,) float32 behind the last token, as a copy.

        Raises:
            InputError: The sequence gets longer than the bundle allows.
            SessionError: The graph fails, or its logits are not finite.
        """
        cos, sin = self._rotary(position_ids)
        end = self.cache.put_rotary(cos, sin)
        parts = [embeds] if isinstance(embeds, np.ndarray) else embeds
        return self._run(self._join(parts, len(cos)), end).copy()

    def _rotary(self, position_ids: IntArray) -> tuple[FloatArray, FloatArray]:
        """The rotary rows of tokens at ``position_ids`` (3, S)."""
        return rotary_tables(
            position_ids,
            theta=self._model.rope_theta,
            sections=self._model.mrope_section,
            head_dim=self._model.head_dim,
        )

    def _run(self, embeds: FloatArray, end: int) -> FloatArray:
        """Append ``embeds`` (1, S, D) up to length ``end``, whose rotary rows the cache has.

        Returns:
            The logits (V,), valid until the next run.

        Raises:
            SessionError: The graph fails, or its logits are not finite.
        """
        self._last_index[0] = end - 1
        self._num_tokens[...] = end
        outputs = self._graph.run(
            {
                "embeds": embeds,
                "cos": self.cache.cos,
                "sin": self.cache.sin,
                "seqlens_k": self._last_index,
                "total_sequence_length": self._num_tokens,
            }
        )
        self.cache.length = end
        logits: FloatArray = outputs["logits"][0]
        # A NaN compares as "below the threshold": a bad part would pass.
        if not (np.isfinite(logits.min()) and np.isfinite(logits.max())):
            raise SessionError(
                "the decoder's logits are not finite. If its precision is fp16 or int8, export "
                "the bundle again with a higher one"
            )
        return logits

    def _join(self, parts: Sequence[Embeds], num_tokens: int) -> FloatArray:
        """The embeddings (1, S, D) of all parts, on the device where one of them is."""
        num_rows = sum(int(part.shape[0]) for part in parts)
        assert num_rows == num_tokens, f"{num_rows} embeddings for {num_tokens} positions"
        where: set[str] = set()
        rows: list[AnyArray] = []
        start = 0
        for part in parts:
            stop = start + int(part.shape[0])
            place = self._embeds[0, start:stop]
            start = stop
            if (there := as_on_device(part)) is not None:
                where.add(there.device)
                rows.append(part)
                continue
            if part.ndim == 1:
                self._embedding.rows_into(part.tolist(), place)
            else:
                assert part.dtype == place.dtype, f"{part.dtype} is not {place.dtype}"
                assert part.shape == place.shape, f"{part.shape} is not {place.shape}"
                place[...] = part
            rows.append(place)
        if not where:
            return self._embeds[:, :num_rows]
        width = self._model.hidden_size
        if self._joined is None:
            self._joined = DeviceArray((self.cache.capacity, width), np.float32, *where)
        self._joined.join(rows)
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
        num_free = min(max_new_tokens - 1, self.cache.capacity - self.cache.length)
        cos, sin = self._rotary(np.broadcast_to(np.arange(num_free) + position, (3, num_free)))
        for place in count():
            ids.append(int(np.argmax(logits)) if guide is None else guide.choose(logits))
            yield ids[-1]
            if ids[-1] in end or (guide is not None and guide.is_done):
                return Generation(tuple(ids), is_complete=True)
            if place == num_free or (may_go_on is not None and not may_go_on()):
                break
            self._embedding.rows_into(ids[-1:], self._row[0])
            length = self.cache.put_rotary(cos[place : place + 1], sin[place : place + 1])
            logits = self._run(self._row, length)
        return Generation(tuple(ids), is_complete=False)
