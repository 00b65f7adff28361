"""Read a checkpoint: a Hugging Face folder, its configuration, its tensors one at a time.

The only place that knows how checkpoints are spelled: the released ``model_type`` names and stock
Qwen2.5-VL, both prefixes, one file or shards. Inside, tensors are called ``visual.*``,
``language_model.*`` and ``lm_head.weight``.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLTextConfig

from adcopilot_edge.bundle import hash_file
from adcopilot_edge.errors import CheckpointError, UnsupportedModelError
from adcopilot_edge.training.config import ADCopilotConfig, ADCopilotVisionConfig
from adcopilot_edge.types import FloatArray

STOCK_MODEL_TYPE = "qwen2_5_vl"
MODEL_TYPES = ("ad_copilot", "yangjian", STOCK_MODEL_TYPE)

_SINGLE_FILE = "model.safetensors"
_INDEX_FILE = "model.safetensors.index.json"
_FLOAT_TYPES = ("F32", "F16", "BF16")
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


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An opened checkpoint. ``entries`` maps our name of each tensor to where it lies.

    model_type: the folder's own word. config: the same class whatever the spelling; stock
    Qwen2.5-VL has ``compare_token_size`` 0 in it. Tensors are read anew at each call and belong to
    the caller; nothing stays mapped in between.
    """

    path: Path
    model_type: str
    config: ADCopilotConfig
    entries: dict[str, TensorEntry]

    def tensor(self, name: str) -> FloatArray:
        """The whole tensor, in float32.

        Raises:
            CheckpointError: The tensor holds NaN or infinity, or can't be read.
        """
        return self._read(name, slice(None))

    def chunks(self, name: str, max_rows: int) -> Iterator[FloatArray]:
        """The rows of a tensor in order, at most ``max_rows`` at a time; raises as ``tensor``."""
        for start in range(0, self.entries[name].shape[0], max_rows):
            yield self._read(name, slice(start, start + max_rows))

    def rows(self, name: str, indices: Sequence[int]) -> FloatArray:
        """The rows ``indices`` of a tensor, (n, ...) in their order; raises as ``tensor``."""
        return np.concatenate([self._read(name, slice(index, index + 1)) for index in indices])

    def _read(self, name: str, rows: slice) -> FloatArray:
        entry = self.entries[name]
        with _opened(entry.file) as file:
            tensor: torch.Tensor = file.get_slice(entry.name)[rows]
        array: FloatArray = tensor.float().numpy()
        if not np.isfinite(array).all():
            raise CheckpointError(
                f"tensor {entry.name} in {entry.file} holds NaN or infinity. "
                "Train or download the checkpoint again."
            )
        return array

    @property
    def vision(self) -> ADCopilotVisionConfig:
        """The settings of the vision tower and the Comparison Encoder."""
        return cast(ADCopilotVisionConfig, self.config.vision_config)

    @property
    def text(self) -> Qwen2_5_VLTextConfig:
        """The settings of the language model."""
        return cast(Qwen2_5_VLTextConfig, self.config.text_config)

    @property
    def patch_size(self) -> int:
        """Pixels of a patch's side."""
        return cast(int, self.vision.patch_size)

    @property
    def vision_rope(self) -> dict[str, Any]:
        """The rotary settings of the vision tower."""
        return cast(dict[str, Any], self.vision.rope_parameters)

    @property
    def text_rope(self) -> dict[str, Any]:
        """The rotary settings of the language model."""
        return cast(dict[str, Any], self.text.rope_parameters)

    @property
    def head_name(self) -> str:
        """The tensor of the output head: the embedding table itself where the two are tied."""
        tied = self.config.tie_word_embeddings or "lm_head.weight" not in self.entries
        return "language_model.embed_tokens.weight" if tied else "lm_head.weight"

    def sha256(self) -> str:
        """A hash over the configuration and the weight files, in name order."""
        files = {self.path / "config.json", *(entry.file for entry in self.entries.values())}
        digest = hashlib.sha256()
        for file in sorted(files):
            digest.update(f"{file.name} {hash_file(file)}\n".encode())
        return digest.hexdigest()


def open_checkpoint(path: Path) -> Checkpoint:
    """Open the folder ``path`` and read its configuration and the headers of its weight files.

    Raises:
        CheckpointError: A file is missing, damaged, or of an unknown form.
        UnsupportedModelError: The model is none that the exporter knows.
    """
    raw = read_json(path / "config.json")
    model_type = raw.get("model_type")
    if model_type not in MODEL_TYPES:
        raise UnsupportedModelError(
            f"{path / 'config.json'} has model_type {model_type!r}; this release exports "
            f"{', '.join(MODEL_TYPES)}."
        )
    return Checkpoint(
        path=path, model_type=model_type, config=_config(raw, path), entries=_entries(path)
    )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of the checkpoint. Raises CheckpointError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise CheckpointError(
            f"{path} is missing: {path.parent} is no Hugging Face checkpoint folder."
        ) from err
    except (OSError, ValueError) as err:
        raise CheckpointError(f"{path} can't be read as JSON: {err}") from err
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} must hold a JSON object, not a {type(content).__name__}")
    return content


def _config(raw: dict[str, Any], path: Path) -> ADCopilotConfig:
    if raw["model_type"] == STOCK_MODEL_TYPE:
        raw = {**raw, "vision_config": {**raw.get("vision_config", {}), "compare_token_size": 0}}
    with warnings.catch_warnings():
        # Released files say rope_scaling; transformers reads it and says it is old.
        warnings.simplefilter("ignore", FutureWarning)
        try:
            return ADCopilotConfig.from_dict({**raw, "model_type": ADCopilotConfig.model_type})
        except (TypeError, ValueError, KeyError) as err:
            raise CheckpointError(f"{path / 'config.json'} is not valid: {err}") from err


def _entries(path: Path) -> dict[str, TensorEntry]:
    """The tensors of every weight file under our names."""
    entries: dict[str, TensorEntry] = {}
    for file in _weight_files(path):
        with _opened(file) as opened:
            for name in opened.keys():  # noqa: SIM118 - a file handle, not a mapping
                piece = opened.get_slice(name)
                if piece.get_dtype() in _FLOAT_TYPES:
                    shape = tuple(piece.get_shape())
                    entries[our_name(name)] = TensorEntry(file, name, shape, piece.get_dtype())
    return entries


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An open weight file, unmapped again at the end: what was read no longer counts as ours."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as err:
        raise CheckpointError(
            f"{path} can't be read: {err}. It may be cut short: download or copy it again."
        ) from err


def _weight_files(path: Path) -> Sequence[Path]:
    if (path / _INDEX_FILE).is_file():
        shards = read_json(path / _INDEX_FILE).get("weight_map", {})
        files = [path / name for name in sorted(set(shards.values()))]
    else:
        files = [path / _SINGLE_FILE]
    if missing := [file.name for file in files if not file.is_file()] or not files:
        raise CheckpointError(f"{path} lacks weights: {missing}. Download or copy it again.")
    return files


def our_name(name: str) -> str:
    """The name of a tensor in the exporter, from any spelling of a checkpoint."""
    for pattern, replacement in _RENAMINGS:
        name = pattern.sub(replacement, name)
    return name
