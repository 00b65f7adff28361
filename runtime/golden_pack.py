"""A golden reference as one file: a safetensors file whose header says what it is and was made of.

What is damaged, or is not what was asked for, raises; nothing of it is used. Which folder packs lie
in is the business of :mod:`adcopilot_edge.runtime.golden_packs`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

import adcopilot_edge
from adcopilot_edge.errors import PackError
from adcopilot_edge.positions import Positions
from adcopilot_edge.record import Record
from adcopilot_edge.runtime.cache import KVPrefix
from adcopilot_edge.runtime.dialogue import GoldenPrefix
from adcopilot_edge.runtime.golden import GoldenReference
from adcopilot_edge.runtime.tensor_file import (
    TensorEntry,
    TensorFileError,
    describe_tensors,
    map_tensors,
    read_metadata,
    write_tensors,
)
from adcopilot_edge.runtime.tensors import AnyArray

_SHA256 = r"^[0-9a-f]{64}$"
_BLOCK = "kv/"  # before the names of keys and values


class PackRecord(Record):
    """What a pack's header says.

    key: what the numbers depend on, as one hash (``golden_key``). bundle: the id of the engine that
    read the image. name: the product's, as its user calls it; several packs may share it.
    tile: x, y, width and height in pixels of the golden image where the pack is of a tile of it,
    else None. next_text, maximum: where positions go on (``Positions``). tensors: all that the file
    must hold.
    """

    format: Literal["adcopilot-edge-golden"] = "adcopilot-edge-golden"
    version: Literal[1] = 1
    created_by: str
    created_at: datetime
    key: str = Field(pattern=_SHA256)
    golden_sha256: str = Field(pattern=_SHA256)
    bundle: str
    provider: str
    variant: str = ""
    name: str | None = None
    tile: tuple[int, int, int, int] | None = None
    next_text: int = Field(ge=0)
    maximum: int = Field(ge=0)
    tensors: dict[str, TensorEntry]

    @property
    def id(self) -> str:
        """The pack's short name."""
        return self.key[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOrigin:
    """What a pack is made for: see ``PackRecord``."""

    key: str
    provider: str
    variant: str
    name: str | None
    tile: tuple[int, int, int, int] | None = None


def write_pack(path: Path, reference: GoldenReference, origin: PackOrigin) -> PackRecord:
    """Write a reference to ``path``, whole or not at all.

    Raises:
        OSError: The file can't be written.
    """
    tensors = _tensors(reference)
    record = PackRecord(
        created_by=f"adcopilot-edge {adcopilot_edge.__version__}",
        created_at=datetime.now(timezone.utc).replace(microsecond=0),
        key=origin.key,
        golden_sha256=reference.image_sha256,
        bundle=reference.bundle,
        provider=origin.provider,
        variant=origin.variant,
        name=origin.name,
        tile=origin.tile,
        next_text=reference.prefix.positions.next_text,
        maximum=reference.prefix.positions.maximum,
        tensors=describe_tensors(tensors),
    )
    text = json.dumps(record.model_dump(mode="json"))
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    write_tensors(path, tensors, {"format": record.format, "record": text, "sha256": sha256})
    return record


def read_record(path: Path) -> PackRecord:
    """What the header of a pack says; its tensors are not looked at. Raises PackError."""
    try:
        return _record(read_metadata(path), path)
    except (TensorFileError, OSError) as err:
        raise _unusable(path, err) from err


def read_pack(path: Path, *, key: str | None, bundle: str) -> tuple[PackRecord, GoldenReference]:
    """Map a pack into memory and check every tensor by its checksum.

    Args:
        path: The file.
        key: What it must have been made of; None takes any.
        bundle: The id of the engine that will use it.

    Returns:
        The record, and the reference with arrays that are read-only and lie in the file.

    Raises:
        PackError: The pack is damaged, can't be read, or was made of something else.
    """
    try:
        metadata, tensors = map_tensors(path)
    except (TensorFileError, OSError) as err:
        raise _unusable(path, err) from err
    record = _record(metadata, path)
    if key is not None and record.key != key:
        raise _unusable(path, f"it is of {record.bundle} on {record.provider}, or of another image")
    found = describe_tensors(tensors)
    if found != record.tensors:
        names = sorted({*found, *record.tensors})
        wrong = [name for name in names if found.get(name) != record.tensors.get(name)]
        raise _unusable(path, f"the content of {', '.join(wrong)} has changed")
    return record, _reference(record, tensors, bundle, path)


def _tensors(reference: GoldenReference) -> dict[str, AnyArray]:
    """The arrays of a reference by their names in the file."""
    state = reference.prefix.state
    return {
        "image": reference.image,
        "features": reference.features,
        "tokens": reference.tokens,
        "comparison_tokens": reference.comparison_tokens,
        "positions": reference.prefix.positions.ids,
        "cos": state.cos,
        "sin": state.sin,
        **{f"{_BLOCK}{name}": block for name, block in state.blocks.items()},
    }


def _reference(
    record: PackRecord, tensors: Mapping[str, AnyArray], bundle: str, path: Path
) -> GoldenReference:
    """The reference of checked tensors."""
    blocks = {
        name.removeprefix(_BLOCK): array
        for name, array in tensors.items()
        if name.startswith(_BLOCK)
    }
    try:
        positions = Positions(tensors["positions"], record.next_text, record.maximum)
        state = KVPrefix(blocks, tensors["cos"], tensors["sin"])
        return GoldenReference(
            bundle=bundle,
            image=tensors["image"],
            image_sha256=record.golden_sha256,
            features=tensors["features"],
            tokens=tensors["tokens"],
            comparison_tokens=tensors["comparison_tokens"],
            prefix=GoldenPrefix(state, positions),
        )
    except KeyError as err:
        raise _unusable(path, f"it has no tensor {err}") from err


def _record(metadata: Mapping[str, str], path: Path) -> PackRecord:
    text = metadata.get("record", "")
    if hashlib.sha256(text.encode()).hexdigest() != metadata.get("sha256"):
        raise _unusable(path, "its record is damaged, or it is no golden pack")
    try:
        return PackRecord.model_validate_json(text)
    except ValidationError as err:
        wrong = ", ".join(".".join(map(str, item["loc"])) or item["msg"] for item in err.errors())
        raise _unusable(path, f"another release wrote it: see {wrong}") from err


def _unusable(path: Path, reason: object) -> PackError:
    words = reason.strerror or reason if isinstance(reason, OSError) else reason
    return PackError(
        f"the golden pack {path} can't be used: {words}. Make it again with: "
        "adcopilot-edge golden add"
    )
