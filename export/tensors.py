"""Tensors in safetensors files: where each lies, its name in the exporter, some rows at a time.

Knows nothing of models. A file is mapped only while something is read from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from adcopilot_edge.errors import CheckpointError
from adcopilot_edge.types import FloatArray

FLOAT_TYPES = ("F32", "F16", "BF16")

_RENAMINGS = (
    (re.compile(r"^model\.(?=visual\.|language_model\.)"), ""),
    (re.compile(r"^model\."), "language_model."),
    (re.compile(r"query_embeddings\.weight$"), "query_embeddings"),
)


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """Where a tensor lies: its file, its name there, its shape and the file's word for its type."""

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: str

    def read(self, rows: slice = slice(None)) -> FloatArray:
        """The rows of the tensor, or all of it, in float32; the array belongs to the caller.

        Raises:
            CheckpointError: What was read holds NaN or infinity, or the file can't be read.
        """
        with opened(self.file) as file:
            tensor: torch.Tensor = file.get_slice(self.name)[rows]
        array: FloatArray = tensor.float().numpy()
        if not np.isfinite(array).all():
            raise CheckpointError(
                f"tensor {self.name} in {self.file} holds NaN or infinity. "
                "Train or download the checkpoint again."
            )
        return array


def our_name(name: str) -> str:
    """The name of a tensor in the exporter, from any spelling of a checkpoint."""
    for pattern, replacement in _RENAMINGS:
        name = pattern.sub(replacement, name)
    return name


def list_tensors(path: Path) -> list[TensorEntry]:
    """The tensors of one weight file, from its header. Raises CheckpointError."""
    with opened(path) as file:
        pieces = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        return [
            TensorEntry(path, name, tuple(piece.get_shape()), piece.get_dtype())
            for name, piece in pieces.items()
        ]


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An open weight file, unmapped again at the end: what was read no longer counts as ours."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as err:
        raise CheckpointError(
            f"{path} can't be read: {err}. It may be cut short: download or copy it again."
        ) from err
