"""What a data set says of each picture, which may be in several entries: joined, or told as wrong.

Knows no layout, opens no picture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from adcopilot_edge.training.chat_ad.source import Finding, SourceDefect, SourceImage, escaped

NOT_UTF8 = "has a name that is not UTF-8, so it is left out; rename it"


def join_entries(entries: Iterable[SourceImage]) -> tuple[list[SourceImage], list[Finding]]:
    """One image for each picture, in the order of their first entries, and what is wrong.

    It has the defects of all its entries, those that several name once; all else is as the first
    entry has it. A picture is left out whose entries contradict each other about its category, or
    of which some say that nothing is wrong with it and others what; and one with a file whose name
    is not UTF-8, which no record can hold.
    """
    groups: dict[Path, list[SourceImage]] = defaultdict(list)
    for entry in entries:
        groups[entry.path].append(entry)
    images: list[SourceImage] = []
    findings: list[Finding] = []
    for path, group in groups.items():
        if unnameable := [one for one in _files(group) if escaped(str(one)) != str(one)]:
            findings += [Finding(one, NOT_UTF8) for one in unnameable]
            continue
        if contradiction := _contradiction(group):
            findings.append(
                Finding(path, f"{contradiction}, so it is left out; correct or remove one of them")
            )
            continue
        first = group[0]
        others = sorted({str(one.template) for one in group if one.template != first.template})
        if others:
            findings.append(
                Finding(
                    path,
                    f"has the template {first.template} in one entry, in others "
                    f"{', '.join(others)}; the first is taken, name one",
                )
            )
        images.append(replace(first, defects=_defects(group)))
    return images, findings


def _defects(group: Iterable[SourceImage]) -> tuple[SourceDefect, ...]:
    defects: list[SourceDefect] = []
    for entry in group:
        defects += [defect for defect in entry.defects if defect not in defects]
    return tuple(defects)


def _files(group: Iterable[SourceImage]) -> list[Path]:
    """All files that the entries of a picture name."""
    named = [(one.path, one.template, *(each.mask for each in one.defects)) for one in group]
    return list(dict.fromkeys(path for paths in named for path in paths if path is not None))


def _contradiction(group: Sequence[SourceImage]) -> str:
    """How the entries of a picture contradict each other; empty where they don't."""
    categories = list(dict.fromkeys(one.category for one in group))
    if len(categories) > 1:
        return f"is of the category {categories[0]} in one entry, of {categories[1]} in another"
    if len({one.is_normal for one in group}) > 1:
        return "is normal in one entry and defective in another"
    return ""
