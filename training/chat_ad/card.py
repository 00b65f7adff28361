"""The data card of a curated set: ``README.md`` as the Hugging Face hub and ``datasets`` read it.

Knows no shard; it is told the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adcopilot_edge import __version__
from adcopilot_edge.training.chat_ad.counts import Counts, balance
from adcopilot_edge.training.chat_ad.shards import DATA_FOLDER

NOT_STATED = "not stated"
_SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
_SIZE_NAMES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "n>10M")
_MOST_ROWS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What a card says beside the counts.

    name: of the set. splits: in order. licences: as their user states them, by source. left_out:
    number by (step, reason). settings: how the set was made, name and value. embeds: whether the
    pictures are in the shards. split_rule: in words.
    """

    name: str
    splits: Sequence[str]
    licences: Mapping[str, str]
    left_out: Mapping[tuple[str, str], int]
    settings: Mapping[str, str]
    embeds: bool
    split_rule: str


def write_card(facts: CardFacts, counts: Counts) -> str:
    """The card as Markdown with a YAML header."""
    return "\n".join([*_header(facts, counts), "", *_body(facts, counts), ""])


def _header(facts: CardFacts, counts: Counts) -> list[str]:
    size = next((at for at, limit in enumerate(_SIZES) if counts.samples < limit), len(_SIZES))
    stated = set(facts.licences.values()) - {NOT_STATED}
    whole = all(source in facts.licences for source in counts.sources)
    licence = stated.pop() if len(stated) == 1 and whole else "other"
    return [
        "---",
        f"pretty_name: {_quoted(facts.name)}",
        "license: other",
        f"license_name: {_quoted(licence if licence != 'other' else 'several, see below')}",
        "language: [en]",
        "task_categories: [image-text-to-text]",
        "tags: [anomaly-detection, visual-inspection, image-pairs]",
        f"size_categories: [{_quoted(_SIZE_NAMES[size])}]",
        "configs:",
        "- config_name: default",
        "  data_files:",
        *[
            line
            for split in facts.splits
            for line in (f"  - split: {split}", f"    path: {DATA_FOLDER}/{split}-*.parquet")
        ],
        "---",
    ]


def _body(facts: CardFacts, counts: Counts) -> list[str]:
    normal = f"{counts.normal} normal, {counts.defective} defective"
    return [
        f"# {facts.name}",
        "",
        f"{counts.samples} dialogues about {counts.pairs} pairs of pictures of industrial parts "
        f"({normal}): a template that is normal, and a query to be judged against it. Curated by "
        f"adcopilot-edge {__version__}.",
        "",
        "![A sheet of samples](sheet.png)",
        "",
        "## Use",
        "",
        "```python",
        "import datasets",
        'rows = datasets.load_dataset("PATH")["train"]',
        'rows[0]["template"], rows[0]["query"], rows[0]["messages"]',
        "```",
        "",
        f"In `messages`, each `{'<bbox>'}` stands for a box of `bboxes`, in their order: "
        "`(x1, y1, x2, y2)` in pixels of `query`, which has `query_size` (width, height). `boxes` "
        "and `labels` are the truth about the query; both are empty for a normal one, and for one "
        "whose defects have no known place (`is_anomaly` tells). `choice` is the letter of the "
        "right option, for the task `choice`. `split` is what the source called its part of the "
        "data; the splits of this set are its files.",
        "",
        "The pictures are "
        + (
            "in the shards."
            if facts.embeds
            else "not in the shards: rows have the paths that they had where the set was made."
        ),
        "",
        "## Sources and licences",
        "",
        *_table(
            ("source", "dialogues", "licence"),
            [
                (name, n, facts.licences.get(name, NOT_STATED))
                for name, n in _sorted(counts.sources)
            ],
        ),
        "",
        "Licences are as the person who made this set stated them; each covers its pictures.",
        "",
        "## Splits",
        "",
        *_table(("split", "dialogues"), [(name, counts.splits[name]) for name in facts.splits]),
        "",
        facts.split_rule,
        "",
        "## Content",
        "",
        *_counted("task", counts.tasks),
        *_counted("category", counts.categories),
        *_counted("label", counts.labels, "pairs"),
        *_counted("right letter", counts.letters),
        *_counted("author", counts.authors),
        *_left_out(facts),
        "## How it was made",
        "",
        *_table(("setting", "value"), list(facts.settings.items())),
    ]


def _left_out(facts: CardFacts) -> list[str]:
    rows = [(step, reason, number) for (step, reason), number in facts.left_out.items()]
    told = _table(("step", "reason", "number"), rows) if rows else ["Nothing was left out."]
    more = ["", "Each one is a line of `left_out.jsonl`."] if rows else []
    return ["## Left out", "", *told, *more, ""]


def _counted(name: str, numbers: Mapping[str, int], unit: str = "dialogues") -> list[str]:
    """A table of numbers, the largest first, and how balanced they are; nothing without any."""
    if not numbers:
        return []
    rows = _sorted(numbers)
    spread = balance(numbers)
    told = f"{len(rows)} in all, largest to smallest {spread['ratio']}:1, "
    told += f"as mixed as {spread['effective']} equal ones."
    rest = [(f"{len(rows) - _MOST_ROWS} more", sum(n for _, n in rows[_MOST_ROWS:]))]
    return [
        *_table((name, unit), rows[:_MOST_ROWS] + (rest if len(rows) > _MOST_ROWS else [])),
        *(["", told] if len(rows) > 1 else []),
        "",
    ]


def _sorted(numbers: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(numbers.items(), key=lambda item: (-item[1], item[0]))


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    cells = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in cells]


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def _quoted(text: str) -> str:
    """A string of YAML."""
    escaped = " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
