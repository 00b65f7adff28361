"""A language model on its own, exported and run as a device does it: no images, no bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.decoder import write_decoder_graph
from adcopilot_edge.export.embedding import write_embedding
from adcopilot_edge.export.linear import LinearForm
from adcopilot_edge.manifest import ModelSpec
from adcopilot_edge.runtime.decode import Decoder
from adcopilot_edge.runtime.embedding import EmbeddingTable
from adcopilot_edge.types import FloatArray, IntArray

CAPACITY = 1024
_GRAPH, _TABLE = "decoder.onnx", "embedding.npy"


class TextModel:
    """The exported decoder of ``checkpoint`` in ``folder``, with the runtime's own loop."""

    def __init__(self, folder: Path, checkpoint: Checkpoint, *, num_threads: int = 1) -> None:
        language = checkpoint.language
        model = ModelSpec(
            # The record is that of a bundle; what concerns images stays unused here.
            image_height=28,
            image_width=28,
            patch_size=14,
            temporal_patch_size=2,
            merge_size=2,
            vision_width=1,
            compare_token_size=0,
            compare_position_mode="shared",
            has_anomaly_map=False,
            hidden_size=language.hidden_size,
            vocab_size=language.vocab_size,
            num_layers=language.num_layers,
            num_heads=language.num_heads,
            num_kv_heads=language.num_kv_heads,
            head_dim=language.head_dim,
            max_sequence_length=CAPACITY,
            rope_theta=language.rope_theta,
            mrope_section=language.mrope_section,
        )
        shape = (language.vocab_size, language.hidden_size)
        table = EmbeddingTable(folder / _TABLE, shape)
        self._decoder = Decoder(
            folder / _GRAPH, model, table, provider="cpu", num_threads=num_threads
        )

    def continued(self, ids: Sequence[int], num_tokens: int) -> list[int]:
        """The ``num_tokens`` greedy ids behind ``ids``; no token ends them."""
        self._decoder.cache.truncate(0)
        generation = self._decoder.generate(
            self._read(ids), position=len(ids), end=(), max_new_tokens=num_tokens
        )
        return list(generation.ids)

    def forced(self, ids: Sequence[int], start: int) -> Iterator[FloatArray]:
        """The logits (V,) that foretell each of ``ids[start:]``, all ids before it being given."""
        self._decoder.cache.truncate(0)
        logits = self._read(ids[:start])
        for token in ids[start:]:
            yield logits
            logits = self._read([token])

    def _read(self, ids: Sequence[int]) -> FloatArray:
        start = self._decoder.cache.length
        positions: IntArray = np.tile(np.arange(start, start + len(ids), dtype=np.int64), (3, 1))
        return self._decoder.prefill(np.array(ids, dtype=np.int64), positions)


def write_text_model(
    folder: Path, checkpoint: Checkpoint, *, form: LinearForm, head_form: LinearForm
) -> None:
    """Write the decoder and its embedding table, in float32, to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_decoder_graph(folder / _GRAPH, checkpoint, form=form, head_form=head_form)
    write_embedding(folder / _TABLE, checkpoint, is_half=False)
