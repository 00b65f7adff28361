"""The model's words become values: boxes and types. Tolerant in reading, strict in what it returns.

Models cut their JSON short, use Python's quotes, wrap it in fences or talk around it. Whatever the
text, the outcome is a typed result or AnswerError, never another exception.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from adcopilot_edge.errors import AnswerError
from adcopilot_edge.prompt import NO_DEFECT
from adcopilot_edge.types import BBox

UNNAMED = "defect"

# Nothing sensible is longer, and the search below is quadratic in the worst case.
_MAX_CHARS = 20_000

_OPENING = re.compile(r"[\[{]")
_FLAT_OBJECT = re.compile(r"\{[^{}]*\}")
_JSON = json.JSONDecoder(strict=False)  # line breaks inside a label do no harm


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """A box that the model named, in pixels of the model's input."""

    bbox_2d: BBox
    label: str


@dataclass(frozen=True, slots=True)
class ParsedBoxes:
    """The usable boxes of an answer, and how many others it held."""

    boxes: tuple[LabelledBox, ...]
    num_dropped: int


def parse_boxes(text: str, *, height: int, width: int) -> ParsedBoxes:
    """Read the answer to the question where the defects are.

    Wanted is a JSON list of ``{"bbox_2d": [x1, y1, x2, y2], "label": "..."}``. Read as well: such
    objects in fences, between other words, in deeper lists or objects, in Python's notation, and
    the whole ones of a list that was cut short. Swapped corners are put right, boxes clipped to
    the image; those that are no four finite numbers, or have no area inside the image, are
    dropped. A missing label becomes ``defect``.

    Args:
        text: The model's words, perhaps with a thinking part in front.
        height: Rows of the image that the model saw, in pixels.
        width: Columns of that image.

    Returns:
        The boxes; none for an empty list and for the words "No defect".

    Raises:
        AnswerError: The text holds neither boxes nor an empty list.
    """
    answer = _without_thinking(text)
    if _is_no_defect(answer):
        return ParsedBoxes((), num_dropped=0)
    values = list(_json_values(answer))
    items = [item for value in values for item in _box_items(value)]
    items = items or [item for value in _literal_values(answer) for item in _box_items(value)]
    is_empty_list = [] in values and "bbox_2d" not in answer
    if not items and not is_empty_list:
        raise AnswerError(
            f"the answer holds no list of boxes: {_shortened(answer)}. Ask again, or rely on the "
            "verdict and the anomaly map"
        )
    read = [_read_item(item, height=height, width=width) for item in items]
    boxes = tuple(box for box in read if box is not None)
    return ParsedBoxes(boxes, num_dropped=len(items) - len(boxes))


def parse_types(text: str) -> tuple[str, ...]:
    """Read the answer to the question which types of defect there are.

    Returns:
        The types in the order of the answer, each once; none for "No defect".
    """
    answer = _without_thinking(text)
    parts = (part.strip(" .\"'`") for part in re.split(r"[,;\n]|\band\b", answer))
    return tuple(dict.fromkeys(part for part in parts if part and not _is_no_defect(part)))


def _without_thinking(text: str) -> str:
    """The part behind ``</think>``; nothing when the thinking never ended."""
    _, closed, answer = text.rpartition("</think>")
    if not closed:
        answer, _, _ = text.partition("<think>")
    return answer.strip()[:_MAX_CHARS]


def _is_no_defect(text: str) -> bool:
    return text.strip(" .\"'`").casefold() == NO_DEFECT.casefold()


def _json_values(text: str) -> Iterator[Any]:
    """Every JSON list or object in ``text``, from left to right, without those inside another."""
    start = 0
    while (found := _OPENING.search(text, start)) is not None:
        value, start = _json_value(text, found.start())
        if value is not None:
            yield value


def _json_value(text: str, start: int) -> tuple[Any, int]:
    """The JSON value at ``start`` and where it ends, or None and the next place to look."""
    try:
        value, end = _JSON.raw_decode(text, start)
    except ValueError:  # also an integer of thousands of digits
        return None, start + 1
    except RecursionError:  # as deep from the next bracket on, and each try costs milliseconds
        return None, len(text)
    return value, end


def _literal_values(text: str) -> Iterator[Any]:
    """Every object in ``text`` written in Python's notation, with single quotes or None."""
    return map(_literal, _FLAT_OBJECT.findall(text))


def _literal(text: str) -> Any:
    """The value of a Python literal, or None if it is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the model's spelling, as of a lone backslash
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _box_items(value: Any) -> Iterator[dict[Any, Any]]:
    """The objects with a ``bbox_2d`` in ``value``, at any depth."""
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, dict) and "bbox_2d" in value:
            yield value
        elif isinstance(value, dict | list):
            children = value.values() if isinstance(value, dict) else value
            pending.extend(reversed(list(children)))


def _read_item(item: dict[Any, Any], *, height: int, width: int) -> LabelledBox | None:
    """One box, put in order and clipped, or None if nothing of it is usable."""
    corners = item["bbox_2d"]
    while isinstance(corners, list) and len(corners) == 1:
        (corners,) = corners
    if not isinstance(corners, list | tuple) or len(corners) != 4:
        return None
    if not all(map(_is_finite_number, corners)):
        return None
    x1, x2 = (min(max(x, 0), width) for x in sorted((corners[0], corners[2])))
    y1, y2 = (min(max(y, 0), height) for y in sorted((corners[1], corners[3])))
    if x1 >= x2 or y1 >= y2:
        return None
    label = item.get("label")
    name = _printable(label) if isinstance(label, str) else ""
    return LabelledBox((float(x1), float(y1), float(x2), float(y2)), name or UNNAMED)


def _printable(text: str) -> str:
    """``text`` on one line without control characters and halves of surrogate pairs."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def _is_finite_number(value: Any) -> bool:
    """True for a number that is not NaN or infinite; booleans are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
