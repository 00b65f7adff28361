"""A checkpoint with an adapter merged, written as a checkpoint: one tensor in memory at a time.

Names, types and settings stay those of the checkpoint, so that whatever read it reads the new one.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.export.checkpoint import Checkpoint
from adcopilot_edge.export.hub import locate
from adcopilot_edge.types import FloatArray, OnStep

_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_SHARD_BYTES = 5_000_000_000
# 64 MiB of float32.
_CHUNK_VALUES = 1 << 24
_WEIGHT_ENDINGS = (".safetensors", ".index.json", ".bin", ".pt")
# What training reads beside the weights and an export does not.
_FURTHER_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "vocab.json",
)


@dataclass(frozen=True, slots=True)
class MergedFolder:
    """What was written: the folder, how many tensors it holds, and in how many the adapter is."""

    folder: Path
    num_tensors: int
    num_merged: int


def write_merged(
    base: Checkpoint,
    merged: Checkpoint,
    out: Path,
    *,
    shard_bytes: int = _SHARD_BYTES,
    on_step: OnStep = lambda step, done, total: None,
) -> MergedFolder:
    """Write ``merged``, ``base`` with an adapter, as a checkpoint to the new folder ``out``.

    Raises:
        ConfigError: There is something at ``out``, or a tensor has a type that can't be written.
        CheckpointError: A tensor can't be read, or holds NaN or infinity.
    """
    if out.exists():
        raise ConfigError(f"{out} exists already; choose another --out, or remove it")
    if odd := sorted(name for name, entry in base.entries.items() if entry.dtype not in _TYPES):
        raise ConfigError(
            f"{base.name} stores {odd[0]} as {base.entries[odd[0]].dtype}; merging knows "
            f"{', '.join(_TYPES)}"
        )
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    _copy_settings(base, partial)
    shards = _shards(base, shard_bytes)
    places: dict[str, str] = {}
    done = 0
    for number, names in enumerate(shards, start=1):
        file = "model.safetensors"
        if len(shards) > 1:
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        with atomic_write(partial / file) as stream:
            _write_header(stream, base, names)
            for name in names:
                on_step("merge", done, len(base.entries))
                _write_tensor(stream, base, merged, name)
                done += 1
        places |= {base.entries[name].name: file for name in names}
    if len(shards) > 1:
        total = sum(_size(base, name) for name in base.entries)
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
        with atomic_write(partial / "model.safetensors.index.json") as stream:
            stream.write(json.dumps(index, indent=2).encode())
    partial.rename(out)
    changed = sum(merged.entries[name] != entry for name, entry in base.entries.items())
    return MergedFolder(out, len(base.entries), changed)


def _copy_settings(base: Checkpoint, folder: Path) -> None:
    """Copy the files of the checkpoint that hold no weights."""
    if base.hub_name is not None:
        repository, _, commit = base.hub_name.partition("@")
        locate(repository, revision=commit, files=_FURTHER_FILES)
    for path in sorted(base.path.iterdir()):
        if path.is_file() and not path.name.endswith(_WEIGHT_ENDINGS):
            shutil.copyfile(path, folder / path.name)


def _shards(base: Checkpoint, limit: int) -> list[list[str]]:
    """Our names of the tensors of each file, in the checkpoint's order."""
    shards: list[list[str]] = [[]]
    used = 0
    for name in base.entries:
        size = _size(base, name)
        if shards[-1] and used + size > limit:
            shards.append([])
            used = 0
        shards[-1].append(name)
        used += size
    return shards


def _size(base: Checkpoint, name: str) -> int:
    entry = base.entries[name]
    return math.prod(entry.shape) * _TYPES[entry.dtype].itemsize


def _write_header(stream: BinaryIO, base: Checkpoint, names: Sequence[str]) -> None:
    """The header of a safetensors file: its length in 8 bytes, then JSON, padded to 8 bytes."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name in names:
        entry, end = base.entries[name], start + _size(base, name)
        header[entry.name] = {
            "dtype": entry.dtype,
            "shape": list(entry.shape),
            "data_offsets": [start, end],
        }
        start = end
    content = json.dumps(header, separators=(",", ":")).encode()
    content += b" " * (-len(content) % 8)
    stream.write(len(content).to_bytes(8, "little") + content)


def _write_tensor(stream: BinaryIO, base: Checkpoint, merged: Checkpoint, name: str) -> None:
    """The values of a tensor in the checkpoint's type."""
    entry = base.entries[name]
    rows = max(1, _CHUNK_VALUES // max(1, math.prod(entry.shape[1:])))
    pieces: Iterable[FloatArray] = [merged.tensor(name)]
    if len(entry.shape) > 1:
        pieces = merged.chunks(name, rows)
    for piece in pieces:
        values = torch.from_numpy(piece).to(_TYPES[entry.dtype]).contiguous()
        stream.write(values.view(torch.uint8).numpy().tobytes())
