"""What the name of a file tells: whether it is a draft, the product, and the reference."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

_DRAFT_ENDS = (".crdownload", ".filepart", ".part", ".partial", ".swp", ".temp", ".tmp", "~")
_MAX_REFERENCE = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class NameParts:
    """What a name tells. product: None for the station's own. problem: why no product is known."""

    reference: str
    product: str | None = None
    problem: str | None = None


def is_draft(name: str) -> bool:
    """Whether programs give such a name to a file that they have not finished."""
    return name.startswith(".") or name.lower().endswith(_DRAFT_ENDS)


def read_name(name: str, pattern: re.Pattern[str] | None) -> NameParts:
    """The parts of a file's name. pattern: with a group ``product``, perhaps ``reference``."""
    shown = printable(name)
    if pattern is None:
        return NameParts(reference=shown)
    match = pattern.fullmatch(name)
    groups = {} if match is None else match.groupdict()
    if not groups.get("product"):
        return NameParts(reference=shown, problem=f"{shown} has no product by {pattern.pattern!r}")
    return NameParts(
        reference=printable(groups.get("reference") or name), product=printable(groups["product"])
    )


def printable(name: str) -> str:
    """The name as text that can be stored and shown, at most 200 characters."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)[:_MAX_REFERENCE]
