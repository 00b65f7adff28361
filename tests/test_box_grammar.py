"""The grammar of boxes: what it lets through parses, and what was begun can be finished."""

from __future__ import annotations

import json
import random

import pytest

from adcopilot_edge.runtime.answer import parse_boxes
from adcopilot_edge.runtime.box_grammar import START, BoxGrammar

HEIGHT, WIDTH = 56, 1280


@pytest.fixture(scope="module")
def grammar():
    return BoxGrammar(height=HEIGHT, width=WIDTH)


def box(corners, label=', "label": "stain"'):
    return f'{{"bbox_2d": [{corners}]{label}}}'


def follow(grammar, text):
    return grammar.follow(START, text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "[ ]",
        "No defect",
        f"[{box('0, 0, 1, 1')}]",
        f"[{box('1279, 55, 1280, 56')}]",
        f"[{box('9, 7, 10, 50')}, {box('100,7,1000,8')}]",
        f"[{box('1, 2, 3, 4', '')}]",
        '```json\n[\n\t{"bbox_2d": [1, 2, 3, 4], "label": "stain"}\n]\n```',
        "```\n[]",
        '[{"bbox_2d": [1, 2, 3, 4], "label": "größer 傷"}]',
        r'[{"bbox_2d": [1, 2, 3, 4], "label": "gr\u00f6\u00DFer \"A\" \\ \n"}]',
        json.dumps([{"bbox_2d": [1, 2, 3, 4], "label": "a"}], indent=4),
        json.dumps([{"bbox_2d": [1, 2, 3, 4], "label": "a"}], separators=(",", ":")),
    ],
)
def test_answers_in_the_form_that_was_trained(grammar, text):
    place = follow(grammar, text)
    assert place is not None
    assert place.name == "done"


@pytest.mark.parametrize(
    "text",
    [
        "The",
        "{",
        "[[",
        "[1",
        "]",
        "No defects",
        '[{"bbox": ',
        '[{"label": ',
        "[{'",
        f"[{box('0, 0, 1')}",
        f"[{box('0, 0, 1, 1, 1')}",
        '[{"bbox_2d": [1280',  # no room for x2
        '[{"bbox_2d": [10, 56',
        '[{"bbox_2d": [10, 5, 9,',
        '[{"bbox_2d": [10, 5, 10,',
        '[{"bbox_2d": [10, 5, 1281',
        '[{"bbox_2d": [10, 5, 2000',
        '[{"bbox_2d": [600, 5, 599',
        '[{"bbox_2d": [10, 5, 20, 5]',
        '[{"bbox_2d": [10, 5, 20, 57',
        '[{"bbox_2d": [01',
        '[{"bbox_2d": [-1',
        '[{"bbox_2d": [1.5',
        '[{"bbox_2d": [1e',
        '[{"bbox_2d": [,',
        '[{"bbox_2d": [1, 2, 3, 4], "label": "a\nb',
        '[{"bbox_2d": [1, 2, 3, 4], "label": "\\x',
        '[{"bbox_2d": [1, 2, 3, 4], "score": ',
        '[{"bbox_2d": [1, 2, 3, 4], }',
        f"[{box('1, 2, 3, 4')},]",
        "[" + " " * 20,
        '[{"bbox_2d": [' + " " * 20,
        "[]]",
        "```yaml",
    ],
)
def test_answers_that_are_stopped(grammar, text):
    assert follow(grammar, text) is None


def test_every_way_ends_in_boxes_that_parse(grammar):
    """Random walks: a dead end, or a text that the reader does not take whole, would show."""
    for seed in range(100):
        rng = random.Random(seed)
        text, place = walk(grammar, rng)
        assert place.name == "done"
        said = text.decode("utf-8")
        parsed = parse_boxes(said, height=HEIGHT, width=WIDTH)
        assert parsed.num_dropped == 0
        assert len(parsed.boxes) == said.count('"bbox_2d"')
        for found in parsed.boxes:
            x1, y1, x2, y2 = found.bbox_2d
            assert 0 <= x1 < x2 <= WIDTH
            assert 0 <= y1 < y2 <= HEIGHT
        if "No" not in said:
            written = json.loads(said.strip().strip("`json\n"))
            corners = [tuple(item["bbox_2d"]) for item in written]
            assert corners == [found.bbox_2d for found in parsed.boxes]


def walk(grammar, rng):
    text, place = b"", START
    while place.name != "done":
        if place.name == "text":
            letter = rng.choice(b'abc "\\')
            place = grammar.follow(place, bytes([letter]))
        else:
            letter, place = rng.choice(sorted(grammar.next_places(place).items()))
        text += bytes([letter])
    return text, place


@pytest.mark.parametrize("size", [1, 9, 10, 11, 100, 1280])
def test_every_pair_of_corners_and_no_other(size):
    grammar = BoxGrammar(height=5, width=size)
    edges = {value + step for value in (1, 10, 99, size // 2, size) for step in (-1, 0, 1)}
    for x1 in edges:
        for x2 in edges:
            fits = grammar.follow(START, b'[{"bbox_2d": [%d, 0, %d,' % (x1, x2)) is not None
            assert fits == (0 <= x1 < x2 <= size), (x1, x2)


def test_its_alphabet_is_enough(grammar):
    """At every place that a walk meets, some byte of the alphabet leads on."""
    for seed in range(30):
        text, _ = walk(grammar, random.Random(seed))
        place = START
        for letter in text:
            assert place.name == "text" or set(grammar.next_places(place)) & {*grammar.alphabet}
            place = grammar.follow(place, bytes([letter]))
