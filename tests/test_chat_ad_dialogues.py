"""Dialogues go on from what was said, never ask twice, and claim nothing that the pair lacks."""

from __future__ import annotations

import json
import pickle
import random
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from mined_pairs import made_up_pair

from adcopilot_edge.prompt import DEFAULT_PROMPT, SWAPPED_VERDICT
from adcopilot_edge.training.chat_ad.cells import PLACES
from adcopilot_edge.training.chat_ad.generate import generate
from adcopilot_edge.training.chat_ad.grammar import say, slots
from adcopilot_edge.training.chat_ad.mined import DefectFacts, MinedDefect, MinedPair, SizeWord
from adcopilot_edge.training.chat_ad.phrase_files import read_phrases
from adcopilot_edge.training.chat_ad.phrasebook import PHRASE_FILES, REGISTERS
from adcopilot_edge.training.chat_ad.sample import SAMPLE_TASKS, ChatSample
from adcopilot_edge.training.places import place_word

SIZES = "|".join(get_args(SizeWord))
CONTRASTS = "darker than|brighter than|differently coloured|similar in tone"
SHAPES = "compact|elongated|irregular|scattered"
FACTS = rf"\b(?:{'|'.join(PLACES)}|{SIZES}|{CONTRASTS}|{SHAPES})\b"
RUNTIME = (*DEFAULT_PROMPT.tasks.values(), SWAPPED_VERDICT)


@cache
def dialogues(count: int = 150) -> list[tuple[MinedPair, ChatSample]]:
    return [
        (pair, sample)
        for pair in map(made_up_pair, range(count))
        for sample in generate(pair, tasks=["dialogue"], per_pair=3, seed=4)
    ]


def answers(sample: ChatSample) -> list[str]:
    return [turn.text for turn in sample.turns if turn.role == "assistant"]


def test_there_are_two_to_five_exchanges_each_often() -> None:
    lengths = Counter(len(sample.turns) // 2 for _, sample in dialogues())
    assert sorted(lengths) == [2, 3, 4, 5]
    assert min(lengths.values()) > lengths.total() / 8


def test_no_question_comes_twice_in_a_dialogue() -> None:
    for _, sample in dialogues():
        questions = [turn.text for turn in sample.turns if turn.role == "user"]
        assert len(set(questions)) == len(questions)


def test_nothing_is_said_that_the_facts_do_not_hold() -> None:
    found: Counter[str] = Counter()
    for pair, sample in dialogues():
        text = " ".join(answers(sample)).lower()
        for defect in pair.defects:
            text = text.replace(defect.description.lower() or "\0", "")
        said = set(re.findall(FACTS, text))
        assert said <= true_words(pair), (pair, sample)
        found.update(said)
    assert len(found) == len(FACTS.split("|"))


def true_words(pair: MinedPair) -> set[str]:
    width, height = pair.query_size
    words = set()
    for defect in pair.defects:
        words |= {place_word(box, height=height, width=width) for box in defect.boxes}
        if defect.facts is not None:
            contrast = defect.facts.contrast or ""
            words |= {defect.facts.size, defect.facts.shape or "", contrast, f"{contrast} than"}
    return words


SCRATCH = MinedDefect(
    label="scratch",
    boxes=((10.0, 10.0, 50.0, 20.0),),
    facts=DefectFacts(
        place="upper left", area=0.005, size="small", contrast="darker", shape="elongated"
    ),
)
HOLES = MinedDefect(
    label="hole",
    boxes=((220.0, 180.0, 240.0, 200.0), (260.0, 200.0, 280.0, 220.0)),
    facts=DefectFacts(
        place="lower right", area=0.3, size="large", contrast="brighter", shape="scattered"
    ),
)
TRUE = {
    "scratch": {"upper left", "small", "darker than", "elongated", "one", "1", "scratch"},
    "hole": {"lower right", "large", "brighter than", "scattered", "two", "2", "hole"},
}


def test_facts_and_numbers_are_said_of_the_defect_that_has_them() -> None:
    words = rf"{FACTS}|\b(?:\d+|one|two|three|four)\b(?= [a-z]+\b)|\b(?:scratch|hole)"
    seen: Counter[str] = Counter()
    for number in range(40):
        pair = made_up_pair(1, key=str(number), defects=(SCRATCH, HOLES), other_labels=())
        for sample in generate(pair, tasks=["dialogue", "caption"], per_pair=4, seed=6):
            for part in re.split(
                r"[.:;{}]| and (?!\w+er than)|, a|, t", " ".join(answers(sample)).lower()
            ):
                said = set(re.findall(words, part))
                for label in {"scratch", "hole"} & said:
                    if not {"scratch", "hole"} <= said:
                        assert said <= TRUE[label], (part, sample)
                        seen.update(said)
    assert set(seen) >= (TRUE["scratch"] | TRUE["hole"]) - {"one", "1"}


def test_yes_and_no_fit_the_question_and_the_pair() -> None:
    seen: Counter[bool] = Counter()
    of_defect = re.compile(
        r"defective|defect\b|anomaly|differ|deviat|wrong|abnormal|ordinary|nonconform|finding"
    )
    for pair, sample in dialogues():
        match = re.match(r"(Yes|No)\. ", answers(sample)[0])
        if match:
            is_yes_of_defect = of_defect.search(sample.turns[0].text) is not None
            assert (match[1] == "Yes") == (is_yes_of_defect != pair.is_normal), sample
            seen[is_yes_of_defect] += 1
    assert min(seen[True], seen[False]) > 10


def test_a_letter_at_the_beginning_is_the_right_one() -> None:
    letters = 0
    for pair, sample in dialogues():
        first = answers(sample)[0]
        if re.match(r"[AB]\b(?! )", first):
            is_yes = f"{first[0]}. Yes" in sample.turns[0].text.replace(")", ".")
            assert is_yes == (not pair.is_normal)
            letters += 1
    assert letters > 30


def test_a_second_defect_is_always_denied() -> None:
    asked = 0
    for pair, sample in dialogues():
        texts = [turn.text for turn in sample.turns]
        for question, answer in zip(texts[2::2], texts[3::2], strict=True):
            if re.search(
                r"\b(evidence|sign) of |Do you (also )?see (a|an) |Could (it|there)", question
            ):
                assert answer.startswith("No")
                assert not any(f"of {label}?" in question for label in pair.labels)
                asked += 1
    assert asked > 20


def test_a_normal_pair_is_never_said_to_have_a_defect() -> None:
    for pair, sample in dialogues():
        if pair.is_normal:
            assert sample.bboxes == sample.boxes == ()
            for text in ". ".join(answers(sample)).lower().split(". "):
                is_denied = text.startswith(("no ", "nothing"))
                wrong = r"is defective|reject|not ok|\bng\b|not match|deviates|differs from"
                assert is_denied or not re.search(wrong, text)


def test_what_knowledge_does_not_say_is_not_asked() -> None:
    known = 0
    for pair, sample in dialogues():
        for defect in pair.defects:
            meaning = [turn.text for turn in sample.turns if f'"{defect.label}" mean' in turn.text]
            assert not meaning or defect.description
            known += bool(meaning)
    assert known


def test_marks_and_boxes_go_together() -> None:
    with_boxes = 0
    for pair, sample in dialogues():
        lists = [text for text in answers(sample) if text.startswith("[{")]
        with_boxes += bool(lists)
        for text in lists:
            items = json.loads(text.replace("<bbox>", "[1, 2, 3, 4]"))
            assert [item["label"] for item in items] == list(sample.labels)
        assert sample.bboxes == sample.boxes * len(lists)
        assert pair.is_placed or not lists
    assert with_boxes > 60


def test_questions_of_the_runtime_have_their_share() -> None:
    openings = Counter(sample.turns[0].text for _, sample in dialogues())
    assert all(openings[question] for question in RUNTIME)
    assert sum(openings[question] for question in RUNTIME) > openings.total() / 8


def test_surface_forms_are_thousands() -> None:
    samples = [
        sample
        for number in range(120)
        for sample in generate(made_up_pair(number), tasks=SAMPLE_TASKS, per_pair=4, seed=8)
    ]
    questions = {turn.text for one in samples for turn in one.turns if turn.role == "user"}
    said = {
        part for one in samples for text in answers(one) for part in re.split(r"(?<=[.?]) ", text)
    }
    assert len(questions) > 1800, len(questions)
    assert len(said) > 1600, len(said)


def test_the_same_arguments_give_the_same_samples_in_every_process() -> None:
    program = (
        "import hashlib, pickle\n"
        "from functools import partial\n"
        "from mined_pairs import made_up_pair\n"
        "from adcopilot_edge.training.chat_ad.generate import generate\n"
        "from adcopilot_edge.training.chat_ad.sample import SAMPLE_TASKS\n"
        "write = partial(generate, tasks=SAMPLE_TASKS, per_pair=2, seed=1)\n"
        "write = pickle.loads(pickle.dumps(write))\n"
        "text = repr([write(made_up_pair(number)) for number in range(9)])\n"
        "print(hashlib.sha256(text.encode()).hexdigest())\n"
    )
    folder = str(Path(__file__).parent)
    root = str(Path(folder).parent)
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": f"{root}:{folder}", "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


def test_more_samples_leave_the_first_as_they_are() -> None:
    pair = made_up_pair(5)
    few = generate(pair, tasks=["choice"], per_pair=2, seed=1)
    many = generate(pair, tasks=["caption", "choice"], per_pair=6, seed=1)
    assert [one for one in many if one.task == "choice"][:2] == few
    assert len({one.key for one in many}) == len(many)
    assert generate(pair, tasks=["choice"], per_pair=2, seed=2) != few
    assert pickle.loads(pickle.dumps(few)) == few


KNOWN_SLOTS = """
template query object things things_only things_cap things_boxed is_are note note_cap the at over
lies extends stretches area looks known name name_cap meaning it them does is_other other
other_single quoted heading heading_cap single names sentence at_cap size size_cap contrast
contrast_cap counted counted_cap is_first is_are_n digits stands takes
"""


@pytest.mark.parametrize("file", PHRASE_FILES)
def test_phrases_are_well_formed_and_say_no_fact_themselves(file: str) -> None:
    for table, registers in read_phrases(file).items():
        assert set(registers) <= {"any", *REGISTERS}, table
        for phrase in (one for phrases in registers.values() for one in phrases):
            assert slots(phrase) <= set(KNOWN_SLOTS.split()), phrase
            assert phrase.count("(") == phrase.count(")"), phrase
            assert not re.search(r"\{[^}]*$|\|\)\)|  ", phrase), phrase
            if file in ("answers", "replies"):
                assert not re.search(FACTS, phrase), phrase


def test_a_value_is_never_read_as_a_phrase() -> None:
    said = say(["{a} (is|is) {b}."], {"a": "(x|y) {b}", "b": "1"}, random.Random(0))
    assert said == "(x|y) {b} is 1."
