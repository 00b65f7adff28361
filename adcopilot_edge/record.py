"""The base of all records that are stored, and the names of precisions."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Precision = Literal["fp32", "fp16", "int8", "int4"]


class Record(BaseModel):
    """Base of stored records: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
