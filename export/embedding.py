"""Write the embedding table as an .npy file, a few rows at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adcopilot_edge.errors import CheckpointError
from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.weights import CHUNK_VALUES
from adcopilot_edge.manifest import Embedding

EMBEDDING_TENSOR = "language_model.embed_tokens.weight"


def write_embedding(path: Path, checkpoint: Checkpoint, *, is_half: bool) -> Embedding:
    """Write the table (V, D) to ``path``, in float16 when ``is_half``, else in float32.

    Raises:
        CheckpointError: A value is too large for float16.
    """
    dtype = np.dtype(np.float16 if is_half else np.float32)
    shape = checkpoint.entries[EMBEDDING_TENSOR].shape
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for rows in checkpoint.chunks(EMBEDDING_TENSOR, CHUNK_VALUES // shape[1] or 1):
            if is_half and np.abs(rows).max() > np.finfo(np.float16).max:
                raise CheckpointError(
                    f"{EMBEDDING_TENSOR} has values beyond float16. Export with --llm fp32."
                )
            file.write(np.ascontiguousarray(rows.astype(dtype)).data)
    return Embedding(file=path.name, precision="fp16" if is_half else "fp32")
