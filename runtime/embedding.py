"""The embedding table: rows of a memory-mapped file, so that only the rows used are ever read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from adcopilot_edge.errors import ManifestError
from adcopilot_edge.types import FloatArray


class EmbeddingTable:
    """Token ids to embeddings.

    Args:
        path: An .npy file of shape ``shape``, float16 or float32.
        shape: (vocabulary, D).

    Raises:
        ManifestError: The file is no such table.
    """

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        try:
            table = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as err:
            raise ManifestError(f"{path} is no .npy file: {err}. Copy the bundle again.") from err
        if table.shape != shape or table.dtype not in (np.float16, np.float32):
            raise ManifestError(
                f"{path} must be a float table of shape {shape}, as the manifest says, "
                f"got {table.dtype} {table.shape}. Export the bundle again."
            )
        self._table: FloatArray = table.view(np.ndarray)  # an index of a memmap takes longer

    def rows_into(self, ids: Iterable[int], rows: FloatArray) -> None:
        """Write the embeddings of ``ids`` to ``rows`` (T, D) float32, one for each."""
        for row, token in zip(rows, ids, strict=True):
            row[...] = self._table[token]
