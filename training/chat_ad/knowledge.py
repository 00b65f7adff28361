"""What people know of defects: labels as words, descriptions, names of products; ours and a user's.

A file is TOML, strict, all of it optional::

    [aliases]                       # from labels of data sets to words
    "mousebite" = "mouse bite"

    [defects]                       # from words to what such a defect is, after "it is"
    "mouse bite" = "a small notch in the edge of a trace"

    [categories."metal nut"]        # the same for one category, before the above
    name = "metal nut"
    aliases = { "flip" = "flipped nut" }
    defects = { "flipped nut" = "the nut lies with its wrong side up" }

Labels and categories are compared in lower case, with ``_``, ``-``, ``/`` and ``.`` as spaces. The
name of a category may be a pattern as of files, ``pcb[1-4]``. All that fit count: the exact name
first, then patterns, the last one first. What a user says, of a category or of all, comes before
all of ours.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, ValidationError, field_validator

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.record import Record

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


def _one_line(text: str) -> str:
    if not text.strip() or "\n" in text.strip():
        raise ValueError("must be one line of text")
    return text.strip()


Words = Annotated[str, AfterValidator(_one_line)]


def plain_words(label: str) -> str:
    """A label in lower case, with what separates words in names of files as single spaces."""
    spaced = re.sub(r"[_\-/.\s]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label))
    return spaced.strip().lower()


class Topic(Record):
    """Aliases and descriptions, by ``plain_words``."""

    aliases: dict[Words, Words] = Field(default_factory=dict)
    defects: dict[Words, Words] = Field(default_factory=dict)

    @field_validator("aliases", "defects")
    @classmethod
    def _plain_keys(cls, entries: dict[str, str]) -> dict[str, str]:
        return _by_plain_words(entries)


class CategoryTopic(Topic):
    """The same for one category; name: what its products are called, or empty."""

    name: str = ""


class KnowledgeFile(Topic):
    """One file of knowledge, or several as one."""

    categories: dict[Words, CategoryTopic] = Field(default_factory=dict)

    @field_validator("categories")
    @classmethod
    def _plain_categories(cls, entries: dict[str, CategoryTopic]) -> dict[str, CategoryTopic]:
        return _by_plain_words(entries)

    def topics(self, category: str) -> list[CategoryTopic]:
        """What it says of a category, in the order in which it counts."""
        name = plain_words(category)
        exact = [self.categories[name]] if name in self.categories else []
        fitting = (key for key in self.categories if _is_pattern(key) and fnmatchcase(name, key))
        return exact + [self.categories[key] for key in fitting]


def _by_plain_words(entries: dict[str, T]) -> dict[str, T]:
    """The entries by ``plain_words``, patterns as they are."""
    plain: dict[str, T] = {}
    for key, value in entries.items():
        name = key.lower() if _is_pattern(key) else plain_words(key)
        if name in plain:
            raise ValueError(f"{key!r} is there twice, if written as {name!r}")
        plain[name] = value
    return plain


def _is_pattern(key: str) -> bool:
    return any(mark in key for mark in "*?[")


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known; to be had from ``load_knowledge``.

    files: in the order in which they count, a user's before ours.
    """

    files: tuple[KnowledgeFile, ...]

    def look_up(self, category: str, label: str) -> tuple[str, str]:
        """A label in words, and what such a defect is, empty where nobody says.

        Labels that a comma separates are looked up one by one: ``bent, melt`` becomes ``bent part
        and melted area``.
        """
        topics = [topic for one in self.files for topic in (*one.topics(category), one)]
        found = dict(_one(topics, part) for part in label.split(",") if plain_words(part))
        if not found:
            return label, ""
        *others, last = found
        words = f"{', '.join(others)} and {last}" if others else last
        return words, "; ".join(filter(None, found.values()))

    def product(self, category: str) -> str:
        """What the category's products are called, empty where nobody says."""
        topics = (topic for one in self.files for topic in one.topics(category))
        return next((topic.name for topic in topics if topic.name), "")


def _one(topics: Sequence[Topic], label: str) -> tuple[str, str]:
    """The words of one label and their description; a label that a topic describes is words."""
    plain = plain_words(label)
    named = (one for one in topics if plain in one.aliases or plain in one.defects)
    words = next((one.aliases.get(plain, plain) for one in named), plain)
    name = plain_words(words)
    return words, next((one.defects[name] for one in topics if name in one.defects), "")


def load_knowledge(paths: Sequence[Path] = ()) -> Knowledge:
    """What the files at ``paths`` say, the last file over the others, and behind them ours.

    Raises:
        ConfigError: A file can't be read, or is no such file; it says where and why.
    """
    users = KnowledgeFile()
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as err:
            raise ConfigError(f"can't read the knowledge file {path}: {err}") from err
        users = _merged(users, _parse(text, str(path)))
    return Knowledge((users, _ours()))


def shipped_files() -> dict[str, KnowledgeFile]:
    """Our own files by name."""
    folder = resources.files("adcopilot_edge.training") / "chat_ad" / "descriptions"
    files = sorted((one for one in folder.iterdir()), key=lambda one: one.name)
    return {one.name: _parse(one.read_text(encoding="utf-8"), one.name) for one in files}


@cache
def _ours() -> KnowledgeFile:
    known = KnowledgeFile()
    for one in shipped_files().values():
        known = _merged(known, one)
    return known


def _parse(text: str, name: str) -> KnowledgeFile:
    try:
        return KnowledgeFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as err:
        raise ConfigError(f"the knowledge file {name} is not valid TOML: {err}") from err
    except ValidationError as err:
        findings = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in err.errors()
        )
        raise ConfigError(f"the knowledge file {name}: {findings}") from err


def _merged(base: KnowledgeFile, over: KnowledgeFile) -> KnowledgeFile:
    """Entries of both, ``over`` first where both have one."""
    categories = {**base.categories}
    for key, topic in over.categories.items():
        before = categories.pop(key, CategoryTopic())  # the newest pattern is tried first
        merged = CategoryTopic(
            name=topic.name or before.name,
            aliases={**before.aliases, **topic.aliases},
            defects={**before.defects, **topic.defects},
        )
        categories = {key: merged, **categories}
    return KnowledgeFile(
        aliases={**base.aliases, **over.aliases},
        defects={**base.defects, **over.defects},
        categories=categories,
    )
