"""The base of all records that are stored, how two of them differ, and the names of precisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Precision = Literal["fp32", "fp16", "int8", "int4"]


class Record(BaseModel):
    """Base of stored records: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def tell_changes(there: object, here: Mapping[str, Any]) -> str:
    """In which values two objects of JSON differ, in words; ``there`` may be anything."""
    known = there if isinstance(there, dict) else {}
    return "; ".join(
        f"{key} is {known.get(key)!r} there, {here.get(key)!r} here"
        for key in sorted({*known, *here})
        if known.get(key) != here.get(key)
    )
