"""Captions say what the facts of a pair say, in sound English, and ask as the runtime does."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from functools import cache
from typing import get_args

import pytest
from mined_pairs import crowded_pair, made_up_pair, twin_pair

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.prompt import DEFAULT_PROMPT, NO_DEFECT
from adcopilot_edge.training.chat_ad.cells import PLACES
from adcopilot_edge.training.chat_ad.choices import choice_kinds
from adcopilot_edge.training.chat_ad.generate import generate
from adcopilot_edge.training.chat_ad.mined import MinedPair, SizeWord
from adcopilot_edge.training.chat_ad.nouns import noun_of
from adcopilot_edge.training.chat_ad.sample import ChatSample
from adcopilot_edge.training.chat_ad.spots import spots_of
from adcopilot_edge.training.chat_ad.wording import product_of
from adcopilot_edge.training.places import place_word
from adcopilot_edge.training.tasks import types_text


@cache
def captions(numbers: range, per_pair: int = 5) -> list[tuple[MinedPair, ChatSample]]:
    pairs = [made_up_pair(number) for number in numbers]
    return [
        (pair, sample)
        for pair in pairs
        for sample in generate(pair, tasks=["caption"], per_pair=per_pair, seed=3)
    ]


SIZES = "|".join(get_args(SizeWord))
CONTRASTS = "darker than|brighter than|differently coloured|similar in tone"
SHAPES = "compact|elongated|irregular|scattered"


@pytest.mark.parametrize("words", ["|".join(PLACES), SIZES, CONTRASTS, SHAPES])
def test_no_word_of_a_fact_is_said_of_a_pair_that_lacks_it(words: str) -> None:
    found: Counter[str] = Counter()
    for pair, sample in captions(range(120)):
        said = set(re.findall(rf"\b(?:{words})\b", without_knowledge(pair, sample)))
        assert said <= true_words(pair), (pair, sample)
        found.update(said)
    assert set(found) >= {word for word in words.split("|") if word}


def without_knowledge(pair: MinedPair, sample: ChatSample) -> str:
    text = " ".join(turn.text for turn in sample.turns if turn.role == "assistant").lower()
    for defect in pair.defects:
        text = text.replace(defect.description.lower() or "\0", "")
    return text


def true_words(pair: MinedPair) -> set[str]:
    """All words for places, sizes, contrasts and shapes that hold for some defect of ``pair``."""
    width, height = pair.query_size
    words = set()
    for defect in pair.defects:
        words |= {place_word(box, height=height, width=width) for box in defect.boxes}
        if defect.facts is not None:
            words |= {defect.facts.size, defect.facts.shape or ""}
            contrast = defect.facts.contrast or ""
            words |= {contrast, f"{contrast} than"}
    return words


def test_every_label_is_named_and_no_other() -> None:
    labels = {label for pair, _ in captions(range(60), 1) for label in pair.labels}
    for pair, sample in captions(range(120)):
        text = sample.turns[1].text.replace("scratches", "scratch").replace("holes", "hole")
        text = text.replace("wires", "wire").replace("caps", "cap").replace("stains", "stain")
        named = {label for label in labels if re.search(rf"\b{label}\b", text, re.IGNORECASE)}
        named -= {"contamination"} if pair.is_normal else set()
        assert named == set(pair.labels), sample


def test_numbers_are_those_of_the_boxes() -> None:
    pair = crowded_pair()
    counts = Counter(defect.label for defect in pair.defects for _ in defect.boxes)
    assert counts == {"oil stain": 2, "missing cap": 6, "hole": 3}
    said = [
        sample.turns[1].text for sample in generate(pair, tasks=["caption"], per_pair=9, seed=1)
    ]
    prose = [text for text in said if "two" in text]
    assert len(prose) >= 4
    for text in prose:
        for words in re.findall(r"\b(\w+) (oil stain|missing cap|hole)s\b", text):
            assert words in {("two", "oil stain"), ("six", "missing cap"), ("three", "hole")}


def test_a_pair_without_places_is_told_none() -> None:
    pairs = [pair for pair in map(made_up_pair, range(90)) if not pair.is_placed]
    assert pairs
    for pair in pairs:
        for sample in generate(pair, tasks=["caption", "choice", "locate"], per_pair=6, seed=2):
            text = sample.turns[1].text
            assert not re.search("|".join(PLACES), text)
            assert sample.boxes == sample.bboxes == ()
            assert sample.task != "locate"
            assert sample.is_anomaly


def test_a_defect_of_several_whose_place_is_unknown_hides_the_places_of_all() -> None:
    mixed = made_up_pair(5, defects=(*crowded_pair().defects, made_up_pair(10).defects[0]))
    assert [defect.label for defect in mixed.defects if not defect.boxes]
    samples = generate(mixed, tasks=["caption", "choice", "locate"], per_pair=8, seed=2)
    assert {sample.task for sample in samples} == {"caption", "choice"}
    assert all(sample.boxes == () for sample in samples)
    assert not re.search("|".join(PLACES), " ".join(one.turns[1].text for one in samples))


def test_a_json_caption_has_the_three_keys_and_all_boxes() -> None:
    seen = 0
    for pair, sample in captions(range(80)):
        answer = sample.turns[1].text
        if not answer.startswith("{"):
            continue
        seen += 1
        record = json.loads(answer.replace("<bbox>", "[1, 2, 3, 4]"))
        assert list(record) == ["description", "defect_details", "defect_description"]
        assert [item["label"] for item in record["defect_details"]] == list(sample.labels)
        assert sample.bboxes == sample.boxes
        assert record["description"]
        assert record["defect_description"]
        assert (record["defect_details"] == []) == pair.is_normal
    assert seen > 40


def test_questions_of_the_runtime_have_their_share_and_the_form_it_reads() -> None:
    asked: Counter[str] = Counter()
    for pair, sample in captions(range(200)):
        question, answer = (turn.text for turn in sample.turns)
        asked[question] += 1
        if question == DEFAULT_PROMPT.tasks["classify"]:
            assert answer == (", ".join(pair.labels) or NO_DEFECT)
    assert asked[DEFAULT_PROMPT.tasks["describe"]] > 30
    assert asked[DEFAULT_PROMPT.tasks["classify"]] > 30


def test_surface_forms_are_many() -> None:
    said = [sample for _, sample in captions(range(200))]
    questions = {sample.turns[0].text for sample in said}
    sentences = {
        one for sample in said for one in re.split(r"(?<=[.?]) (?=[A-Z])", sample.turns[1].text)
    }
    assert len(said) > 800
    assert len(questions) > 400
    assert len(sentences) > 900


def test_english_is_tidy() -> None:
    for pair, sample in captions(range(150)):
        for turn in sample.turns:
            text = turn.text
            assert not re.search(r"  | [.,;?!]|\.\.|\{[a-z_]+\}|^\s|\s$", text), text
            assert not re.search(r"\ba (?!one)[aeio]|\ban [^aeiou]", text, re.IGNORECASE), text
            is_list = text == types_text(pair.labels)
            assert is_list or re.match(r"[A-Z0-9{\[\"]", text), text


@pytest.mark.parametrize(
    ("label", "one", "two", "definite"),
    [
        ("scratch", "a small scratch", "two scratches", "the two scratches"),
        ("open", 'a small defect of the type "open"', 'two defects of the type "open"', None),
        ("irregular edge", "a small irregular edge", "two irregular edges", None),
        ("Mouse Bite", "a small mouse bite", "two mouse bites", "the two mouse bites"),
        ("SMD tilt", 'a small defect of the type "SMD tilt"', None, None),
        ("hole in cloth", "a small hole in cloth", "two holes in cloth", None),
        ("two nuts too many", 'a small defect of the type "two nuts too many"', None, None),
        ("missing almonds", "small missing almonds", None, "the missing almonds"),
        ("rust all over", "small rust all over", None, "the rust all over"),
        ("contamination", "small contamination", "contamination", "the contamination"),
        ("broken teeth", "small broken teeth", "broken teeth", "the broken teeth"),
        ("broken large", 'a small defect of the type "broken large"', None, None),
        ("missing knob", "a small missing knob", "two missing knobs", None),
    ],
)
def test_names_of_types_stand_in_sentences(
    label: str, one: str, two: str | None, definite: str | None
) -> None:
    noun = noun_of(label)
    assert noun.phrase(1, "small") == one
    assert two is None or noun.phrase(2) == two
    assert definite is None or noun.definite(2) == definite


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="summary"):
        generate(made_up_pair(1), tasks=["summary"], per_pair=1, seed=0)  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="-1"):
        generate(made_up_pair(1), tasks=["caption"], per_pair=-1, seed=0)


@pytest.mark.parametrize(
    ("category", "product", "expected"),
    [
        ("metal_nut", "", "metal nut"),
        ("pcb1", "", ""),
        ("capsules", "", ""),
        ("made-up", "", ""),
        ("01", "", ""),
        ("group00041", "bare circuit board", "bare circuit board"),
        ("screw_bag", "bag of screws", "bag of screws"),
        ("capsules", "capsules", ""),
    ],
)
def test_a_product_is_named_where_it_reads_as_a_noun(
    category: str, product: str, expected: str
) -> None:
    assert product_of(made_up_pair(1, category=category, product=product)) == expected


def test_a_label_that_speaks_of_size_is_given_no_other() -> None:
    defect = dataclasses.replace(crowded_pair().defects[0], label="large break")
    pair = made_up_pair(5, defects=(defect,))
    assert spots_of(pair)[0].size is None
    assert "size" not in choice_kinds(pair)


def test_what_each_of_several_is_may_be_said_of_them() -> None:
    pair = twin_pair()
    spot = spots_of(pair)[0]
    assert (spot.count, spot.size, spot.shape, spot.contrast) == (2, "small", "compact", None)
    assert "size" not in choice_kinds(pair)
    samples = generate(pair, tasks=["caption", "dialogue"], per_pair=12, seed=1)
    text = " ".join(one.turns[-1].text for one in samples)
    assert re.search("two (small|compact|small, compact) mouse bites", text)
    assert re.search("[Ee]ach of the two mouse bites (is|looks|appears) ", text)
    assert "darker" not in text


def test_a_box_too_long_for_a_cell_is_said_to_extend() -> None:
    defect = dataclasses.replace(crowded_pair().defects[0], boxes=((10.0, 100.0, 290.0, 130.0),))
    pair = made_up_pair(5, defects=(defect,))
    texts = [one.turns[1].text for one in generate(pair, tasks=["caption"], per_pair=12, seed=1)]
    assert any("across most of the width" in text for text in texts)
    assert not any(re.search("|".join(PLACES), text) for text in texts)
