"""Reads the names of classes from YOLO's YAML file, of which it knows ``names:`` and no more.

The forms are a list or a mapping, in brackets or one entry a line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from adcopilot_edge.errors import DatasetError
from adcopilot_edge.training.chat_ad.files import read_text

NAME_LIST = "classes.txt"

_START = re.compile(r"^names[ \t]*:[ \t]*", re.MULTILINE)
_COMMENT = re.compile(r"(^|\s)#.*$")
# An entry in quotes, in which a quote is doubled or escaped, or plain up to a comma.
_ENTRY = re.compile(r"""\s*((?:\d+\s*:\s*)?)("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^,]*?)\s*(?:,|$)""")
_LINE = re.compile(r"^\s*(?:-\s+|(\d+)\s*:\s*)(.*?)\s*$")


def read_names(root: Path, folders: Sequence[Path]) -> dict[int, str]:
    """The name of each class number.

    Args:
        root: The data set, which holds the YAML file, or ``classes.txt``.
        folders: Where else ``classes.txt`` may be.

    Raises:
        DatasetError: There are no names, or they have another form.
    """
    files = [root / "data.yaml", *sorted([*root.glob("*.yaml"), *root.glob("*.yml")])]
    for path in files:
        if path.is_file() and _START.search(text := read_text(path)):
            return _parse(text, path)
    for folder in (root, *folders):
        if (path := folder / NAME_LIST).is_file():
            lines = [line.strip() for line in read_text(path).splitlines()]
            return {number: line for number, line in enumerate(lines) if line}
    raise DatasetError(
        f"{root} does not name its classes; add data.yaml with a line like names: [scratch, dent], "
        f"or {NAME_LIST} with one name a line"
    )


def _parse(text: str, path: Path) -> dict[int, str]:
    start = _START.search(text)
    assert start is not None
    rest = [_COMMENT.sub("", line) for line in text[start.end() :].splitlines()]
    opening = rest[0].strip()[:1] if rest else ""
    if opening in ("[", "{"):
        names = _parse_brackets(" ".join(rest).strip(), "]" if opening == "[" else "}")
    else:
        names = {} if opening else _parse_lines(rest)
    if not names:
        raise DatasetError(
            f"{path}: can't read names: expected a list as [scratch, dent], or one entry a line as "
            "'- scratch' or '0: scratch'"
        )
    return names


def _parse_brackets(text: str, closing: str) -> dict[int, str]:
    """Entries up to the closing bracket; none where that is missing or an entry has no name."""
    names: dict[int, str] = {}
    position = 1
    inside = text[: text.find(closing)] if closing in text else ""
    while position < len(inside):
        match = _ENTRY.match(inside, position)
        if match is None or not match[2]:
            return names if not inside[position:].strip() else {}
        number = int(match[1].split(":")[0]) if match[1] else len(names)
        if (closing == "}") != bool(match[1]):
            return {}
        names[number] = _unquote(match[2])
        position = match.end()
    return names


def _parse_lines(lines: Sequence[str]) -> dict[int, str]:
    """Entries up to the first line that is none."""
    names: dict[int, str] = {}
    for line in lines[1:]:
        if not line.strip():
            continue
        match = _LINE.match(line)
        if match is None or not match[2]:
            break
        names[int(match[1]) if match[1] else len(names)] = _unquote(match[2])
    return names


def _unquote(word: str) -> str:
    if len(word) > 1 and word[0] == word[-1] == "'":
        return word[1:-1].replace("''", "'")
    if len(word) > 1 and word[0] == word[-1] == '"':
        return re.sub(r"\\(.)", r"\1", word[1:-1])
    return word
