"""Questions with answers, and multiple-choice questions, held against the truth of a pair."""

from __future__ import annotations

import pytest
from teacher_pairs import BENT_EDGE, SCRATCH, STAINS, UNPLACED, mined_pair

from adcopilot_edge.training.chat_ad.teacher.answer import Choice
from adcopilot_edge.training.chat_ad.teacher.claims import judge_exchange
from adcopilot_edge.training.chat_ad.teacher.options import choice_failures, lay_out
from adcopilot_edge.training.chat_ad.teacher.truth import Truth

ONE = Truth.of(mined_pair(SCRATCH))
TWO = Truth.of(mined_pair(SCRATCH, BENT_EDGE, others=("dent", "pinhole")))
NORMAL = Truth.of(mined_pair())
TRUTHS = {"one": ONE, "two": TWO, "normal": NORMAL}
ANY = "Is there any defect in the query sample?"
MATCH = "Does the query sample match the template?"

RIGHT = [
    ("one", ANY, "Yes."),
    ("one", ANY, "Yes, there is a scratch at the upper left."),
    ("one", ANY, "There is a scratch."),
    ("one", "In the query sample, is there a scratch?", "Yes."),
    ("one", "Is the part intact?", "No, it has a scratch."),
    ("one", "Is there a dent?", "No."),
    ("one", "Is there a dent?", "No, it is a scratch."),
    ("one", "Where is the scratch?", "At the upper left."),
    ("one", "Where is the scratch?", "Upper left."),
    ("one", "How many defects are there?", "One."),
    ("one", "How many defects are there?", "There is one defect."),
    ("two", "How many defects are there?", "Two."),
    ("normal", "How many defects are there?", "None."),
    ("one", "What kind of defect does the query sample show?", "A scratch."),
    ("one", "How does the scratch differ in brightness?", "It is darker."),
    ("one", "Is the scratch at the lower left?", "No, it is at the upper left."),
    ("one", "Is the scratch at the upper left?", "Yes."),
    ("one", "How large is the scratch?", "Small."),
    ("one", "Why is the part rejected?", "Because of the scratch at the upper left."),
    ("one", MATCH, "No, there is a scratch."),
    ("normal", MATCH, "Yes, no defect is visible."),
    ("normal", ANY, "No."),
    ("normal", ANY, "No, it is intact."),
    ("normal", "Are there any scratches or dents?", "There are no scratches or dents."),
    ("normal", "Describe the difference between the two images.", "The query shows no difference."),
    ("two", "Where is the bent edge?", "It is at the lower right."),
    ("two", "Is the bent edge brighter?", "Yes, it is brighter than the template."),
]
WRONG = [
    ("one", ANY, "No."),
    ("one", ANY, "No, it is intact."),
    ("one", ANY, "Nope."),
    ("one", ANY, "I think so."),
    ("one", ANY, "It does."),
    ("one", "Is the part intact?", "Yes."),
    ("one", "Is the part intact?", "Indeed."),
    ("one", "Is there a dent?", "Yes."),
    ("one", "Is there a dent?", "Correct."),
    ("one", "Is there a dent?", "Certainly, at the upper left."),
    ("one", "Is there a scratch?", "No."),
    ("one", "Is there a scratch?", "None."),
    ("one", "Where is the scratch?", "At the lower left."),
    ("one", "Where is the dent?", "At the upper left."),
    ("one", "Where are the pimples?", "At the upper left."),
    ("one", "How many defects are there?", "Two."),
    ("one", "How many defects are there?", "None."),
    ("one", "How many scratches are there?", "Three."),
    ("one", "What kind of defect does the query sample show?", "A dent."),
    ("one", "What kind of defect does the query sample show?", "Yes."),
    ("one", "How does the scratch differ in brightness?", "It is brighter."),
    ("one", "Is the scratch at the lower left?", "Yes."),
    ("one", "Is the scratch at the upper left?", "No."),
    ("one", "How large is the scratch?", "Large."),
    ("one", "Is it small?", "No."),
    ("one", "Is the scratch or the dent visible?", "Yes."),
    ("one", "Is there no scratch?", "No."),
    ("one", "Why is the part intact?", "Because of the scratch."),
    ("one", "Is the weather good?", "Yes."),
    ("one", MATCH, "Yes."),
    ("one", "Where is it at [1, 2, 3, 4]?", "There is a scratch."),
    ("one", "", "There is a scratch."),
    ("one", ANY, ""),
    ("normal", ANY, "Yes."),
    ("normal", ANY, "It certainly has."),
    ("normal", "Are there no defects?", "Yes."),
    ("normal", "Where is the scratch?", "At the upper left."),
    ("normal", "How many defects are there?", "One."),
    ("normal", "Describe the difference between the two images.", "The query shows a dent."),
    ("normal", MATCH, "No."),
    ("two", "Where is the bent edge?", "It is at the upper left."),
    ("two", "How many scratches are there?", "Two."),
]


@pytest.mark.parametrize(("pair", "question", "answer"), RIGHT)
def test_right_answers(pair: str, question: str, answer: str) -> None:
    assert judge_exchange(question, answer, TRUTHS[pair]).failures == ()


@pytest.mark.parametrize(("pair", "question", "answer"), WRONG)
def test_wrong_answers(pair: str, question: str, answer: str) -> None:
    assert judge_exchange(question, answer, TRUTHS[pair]).failures


def test_it_is_what_was_spoken_of_before() -> None:
    first = judge_exchange("Where is the bent edge?", "It is at the lower right.", TWO)
    assert first.label == "bent edge"
    assert not judge_exchange("How bright is it?", "It is brighter.", TWO, first.label).failures
    assert judge_exchange("How bright is it?", "It is darker.", TWO, first.label).failures


KIND = "What type of defect does the query sample show?"
WHERE = "Where is the scratch?"
MANY = "How many defects does the query sample show?"
TONE = "How does the scratch look compared with the template?"
SIZE = "What is the size of the scratch?"
LABELS = ["dent", "scratch", "pinhole", "No defect"]
PLACES = ["centre", "upper left", "lower right", "middle right"]


@pytest.mark.parametrize(
    ("pair", "about", "question", "options", "right"),
    [
        ("one", "label", KIND, LABELS, 1),
        ("one", "label", KIND, ["A. dent", "B. Scratch.", "C. pin-hole", "D. None"], 1),
        ("normal", "label", KIND, ["dent", "pinhole", "No defect"], 2),
        ("one", "place", WHERE, PLACES, 1),
        ("one", "place", WHERE, ["In the centre", "At the top left", "At the bottom right"], 1),
        ("one", "count", MANY, ["one", "two", "three"], 0),
        ("two", "count", MANY, ["1", "2", "3"], 1),
        ("normal", "count", MANY, ["0", "1", "2"], 0),
        ("one", "contrast", TONE, ["brighter", "darker", "similar in tone"], 1),
        ("one", "size", SIZE, ["tiny", "small", "large"], 1),
        ("one", "presence", ANY, ["Yes", "No"], 0),
        ("normal", "presence", ANY, ["No", "Yes"], 0),
    ],
)
def test_choices_with_one_right_option(pair, about, question, options, right) -> None:
    choice = Choice(about=about, question=question, options=options, right=right)
    assert choice_failures(choice, TRUTHS[pair]) == []


@pytest.mark.parametrize(
    ("pair", "about", "question", "options", "right", "code"),
    [
        ("one", "label", KIND, LABELS, 0, "wrong_option"),
        ("one", "label", KIND, ["dent", "pinhole", "No defect"], 0, "options_right"),
        ("two", "label", KIND, ["dent", "scratch", "bent edge"], 1, "options_right"),
        ("one", "label", KIND, ["dent", "scratch", "pimple"], 1, "option_unknown"),
        ("one", "label", KIND, ["scratch", "scratches", "dent"], 0, "options_alike"),
        ("one", "label", KIND, ["dent", "scratch"], 1, "option_count"),
        ("one", "label", KIND, LABELS, 4, "wrong_option"),
        ("one", "label", KIND, LABELS, -3, "wrong_option"),
        ("one", "label", "Which defect is not present?", LABELS, 1, "negation_unclear"),
        ("one", "label", "Where is it?", LABELS, 1, "question_about"),
        ("one", "label", "What colour is the part?", LABELS, 1, "question_about"),
        ("normal", "label", KIND, ["dent", "pinhole", "scratch"], 2, "options_right"),
        ("one", "place", WHERE, PLACES, 0, "wrong_option"),
        ("one", "place", "Where is the dent?", PLACES, 1, "other_label"),
        ("one", "place", WHERE, ["left", "right", "centre"], 0, "option_unknown"),
        ("one", "place", WHERE, ["upper left", "top left", "centre"], 0, "options_right"),
        ("one", "place", WHERE, ["upper left dent", "centre", "lower right"], 0, "option_unknown"),
        ("two", "place", "Where is the defect?", PLACES, 1, "options_right"),
        ("one", "count", MANY, ["one", "two", "many"], 0, "option_unknown"),
        ("one", "count", MANY, ["two", "three", "four"], 0, "options_right"),
        ("one", "contrast", TONE, ["brighter", "darker", "red"], 1, "option_unknown"),
        ("one", "size", SIZE, ["small", "little", "large"], 0, "options_right"),
        ("one", "presence", ANY, ["Yes", "No"], 1, "wrong_option"),
        ("one", "presence", ANY, ["Yes", "Maybe"], 0, "option_unknown"),
        ("one", "presence", "Is there a scratch or a dent?", ["Yes", "No"], 0, "unchecked"),
        ("one", "presence", "Is the part free of defects?", ["Yes", "No"], 1, "unchecked"),
        ("one", "presence", "Is the part old?", ["Yes", "No"], 0, "unchecked"),
        ("one", "label", KIND, ["dent", "scratch [1, 2]", "pinhole"], 1, "coordinates"),
    ],
)
def test_choices_that_fail(pair, about, question, options, right, code) -> None:
    choice = Choice(about=about, question=question, options=options, right=right)
    assert code in [one.code for one in choice_failures(choice, TRUTHS[pair])]


def test_nothing_is_asked_about_facts_that_nobody_knows() -> None:
    unplaced = Truth.of(mined_pair(UNPLACED))
    where = Choice(about="place", question="Where is the defect?", options=PLACES, right=1)
    many = Choice(about="count", question=MANY, options=["one", "two", "three"], right=0)
    tone = Choice(
        about="contrast",
        question="How does the stain look compared with the template?",
        options=["brighter", "darker", "similar in tone"],
        right=0,
    )
    for choice, truth in (
        (where, unplaced),
        (many, unplaced),
        (tone, Truth.of(mined_pair(STAINS))),
    ):
        assert "option_unknown" in [one.code for one in choice_failures(choice, truth)]


def test_options_are_laid_out_by_the_key_and_no_defect_stays_last() -> None:
    choice = Choice(about="label", question=KIND, options=["none", *LABELS[:3]], right=2)
    letters = set()
    for number in range(20):
        laid_out = lay_out(choice, f"pair {number}")
        assert laid_out == lay_out(choice, f"pair {number}")
        question, *lines, how = laid_out.question.splitlines()
        assert (question, how) == (KIND, "Answer with the letter.")
        assert lines[-1] == "D. No defect"
        assert f"{laid_out.letter}. scratch" in lines
        letters.add(laid_out.letter)
    assert letters == {"A", "B", "C"}
