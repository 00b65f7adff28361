"""Records of Chat-AD as JSON, for what passes them between processes or keeps them on disk.

Knows no record: any dataclass of paths, numbers, strings and tuples will do.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from adcopilot_edge.errors import DatasetError

T = TypeVar("T")

_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def to_json(record: object) -> dict[str, Any]:
    """``record`` as an object of JSON; ``from_json`` gives an equal one."""
    value: dict[str, Any] = _adapter(type(record)).dump_python(record, mode="json")
    return value


def from_json(kind: type[T], value: object) -> T:
    """The record of class ``kind`` that ``to_json`` was given.

    Raises:
        DatasetError: ``value`` is no such record; it names the first field that is wrong.
    """
    try:
        record: T = _adapter(kind).validate_python(value)
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DatasetError(f"no {kind.__name__}: {place or 'it'}: {first['msg']}") from err
    return record


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """Of each class one, for it takes time to make."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]
