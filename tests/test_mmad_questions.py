"""MMAD's questions: letters of shuffled options, and answers in words, good and malformed."""

from __future__ import annotations

import pytest
from mmad_folder import question

from adcopilot_edge.calibration.mmad_questions import (
    Question,
    parse_answer,
    read_prompt,
    read_question,
)
from adcopilot_edge.errors import DatasetError


def test_options_take_letters_in_their_order() -> None:
    read = read_question(question("Object Details", "C", "cork", "neck", "label"))
    assert read.options == {"A": "cork", "B": "neck", "C": "label"}
    assert read.text == "Question: Is there a defect? \nA. cork\nB. neck\nC. label\n"
    assert (read.answer, read.task) == ("C", "Object Analysis")


def test_shuffled_keys_get_new_letters() -> None:
    """The container may list D before A; the model sees A, B, ... and the answer moves along."""
    entry = question("Defect Analysis", "A") | {"Options": {"D": "none", "A": "leak", "B": "rust"}}
    read = read_question(entry)
    assert read.options == {"A": "none", "B": "leak", "C": "rust"}
    assert read.answer == "B"


@pytest.mark.parametrize(("options", "answer"), [(("Yes.", "No."), "A"), (("No.", "Yes."), "B")])
def test_yes_may_come_second(options: tuple[str, str], answer: str) -> None:
    read = read_question(question("Anomaly Detection", answer, *options))
    assert read.options[read.answer] == "Yes."


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("text", "must be a JSON object"),
        ({"Question": "x"}, "needs Question, Options, Answer and type"),
        (question("t", "A", "only"), "has 2 to 5 options, this one 1"),
        (question("t", "D", "a", "b"), "the answer 'D' is none of the options A, B"),
    ],
)
def test_refuses_other_forms(entry: object, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        read_question(entry)


@pytest.mark.parametrize(
    ("words", "letter", "how"),
    [
        ("B", "B", "letter"),
        ("Answer: C.", "C", "letter"),
        ("(A) or rather **B**", "B", "letter"),  # the last one counts
        ("A crack, so the answer is C", "C", "letter"),
        ("E", "E", "letter"),  # no option: read, and wrong
        ("HOLE", "A", "closest option"),  # capitals are no small letters: all are as far away
        ("it is a deep scratch", "A", "closest option"),
        ("holes", "C", "closest option"),
        ("b", "B", "closest option"),  # a small letter is a word; "dent" is as close as any
        ("", "", "unreadable"),
        ("  \n", "", "unreadable"),
    ],
)
def test_words_become_a_letter(words: str, letter: str, how: str) -> None:
    asked = read_question(question("Defect Classification", "A", "scratch", "dent b", "hole"))
    assert parse_answer(words, asked) == (letter, how)


def test_a_prompt_brings_its_options() -> None:
    read = read_prompt("Is there any defect? A. No B. Yes. Answer with the letter.", "B", "x")
    assert list(read.options) == ["A", "B"]
    assert read.options["A"] == "No"
    assert (read.answer, read.task) == ("B", "x")
    assert read_prompt("A) one thing\nB) another", "b.", "x").options == {
        "A": "one thing",
        "B": "another",
    }


def test_a_prompt_without_options_is_marked_by_its_first_words() -> None:
    read = read_prompt("What is it?", "a bottle", "Object Classification")
    assert read == Question(
        text="What is it?", options={}, answer="a bottle", task="Object Classification"
    )
    assert parse_answer(" A Bottle of glass", read) == ("a bottle", "letter")
    assert parse_answer("glass", read) == ("", "unreadable")
