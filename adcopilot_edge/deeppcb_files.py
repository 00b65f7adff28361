"""How DeepPCB's files are laid out: boards, annotations, classes. Opens no scan.

The folder holds ``boards.json`` (pair id -> board) and ``pairs/`` with, for each pair id S,
``S_temp.png`` (golden), ``S_test.png`` and ``S.txt``, one box a line as ``x1 y1 x2 y2 type``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from adcopilot_edge.errors import DatasetError

LABELS = ("open", "short", "mouse bite", "spur", "spurious copper", "pin hole")
"""The classes 1 to 6 of the annotation files."""

SCAN_SIDE = 640


@dataclass(frozen=True, slots=True)
class BoardBox:
    """One annotated defect: (x1, y1, x2, y2) whole pixels of the scan, x2 and y2 exclusive."""

    bbox: tuple[int, int, int, int]
    label: str


def read_boards(root: Path) -> dict[str, str]:
    """The board of each pair id.

    Raises:
        DatasetError: ``boards.json`` is missing, or is no JSON object of strings.
    """
    path = root / "boards.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise DatasetError(
            f"there is no DeepPCB data at {root}: {path.name} is missing; "
            "give the folder that holds boards.json and pairs/"
        ) from err
    except (OSError, ValueError) as err:
        raise DatasetError(f"can't read {path} as JSON: {err}; restore the file") from err
    if not isinstance(table, dict) or not all(isinstance(board, str) for board in table.values()):
        raise DatasetError(f"{path} must be one JSON object of the form {{pair id: board name}}")
    return table


def read_boxes(path: Path) -> list[BoardBox]:
    """The boxes of one annotation file.

    Raises:
        DatasetError: the file is missing, or a line is not five numbers that make a box.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as err:
        raise DatasetError(
            f"can't read the annotation {path}: {err}; each pair id of boards.json needs one"
        ) from err
    return [
        parse_box(line, path, number) for number, line in enumerate(lines, start=1) if line.strip()
    ]


def parse_box(line: str, path: Path, number: int) -> BoardBox:
    """The box of line ``number`` of ``path``.

    Raises:
        DatasetError: It is not five numbers that make a box.
    """
    try:
        x1, y1, x2, y2, kind = (int(word) for word in line.split())
    except ValueError as err:
        raise DatasetError(
            f"{path}, line {number}: expected 'x1 y1 x2 y2 type' as whole numbers, got {line!r}"
        ) from err
    if not (0 <= x1 < x2 <= SCAN_SIDE and 0 <= y1 < y2 <= SCAN_SIDE and 1 <= kind <= len(LABELS)):
        raise DatasetError(
            f"{path}, line {number}: expected 0 <= x1 < x2 <= {SCAN_SIDE}, the same for y, and a "
            f"type from 1 to {len(LABELS)}, got {line!r}"
        )
    return BoardBox((x1, y1, x2, y2), LABELS[kind - 1])
