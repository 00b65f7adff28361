"""Pairs with several defects: what is said of one must be true of that one, and of both of both."""

from __future__ import annotations

import pytest
from teacher_pairs import SCRATCH, STAINS, mined_pair

from adcopilot_edge.training.chat_ad.mined import (
    ContrastWord,
    DefectFacts,
    MinedDefect,
    SizeWord,
)
from adcopilot_edge.training.chat_ad.teacher.answer import Choice
from adcopilot_edge.training.chat_ad.teacher.claims import judge_caption, judge_exchange
from adcopilot_edge.training.chat_ad.teacher.options import choice_failures
from adcopilot_edge.training.chat_ad.teacher.truth import Truth

BOXES = {
    "upper left": (10.0, 10.0, 60.0, 30.0),
    "centre": (130.0, 130.0, 170.0, 170.0),
    "lower right": (220.0, 230.0, 280.0, 290.0),
}


def defect(
    label: str, place: str, size: SizeWord, contrast: ContrastWord | None = None
) -> MinedDefect:
    facts = DefectFacts(place=place, area=0.01, size=size, contrast=contrast)
    return MinedDefect(label=label, boxes=(BOXES[place],), facts=facts)


SMALL = defect("scratch", "upper left", "small", "darker")
LARGE = defect("dent", "lower right", "large", "brighter")
STAIN = defect("stain", "centre", "medium")
TRUTHS = {
    "two": Truth.of(mined_pair(SMALL, LARGE, others=("pinhole", "stain"))),
    "twice": Truth.of(
        mined_pair(
            defect("scratch", "upper left", "small"),
            defect("scratch", "lower right", "large"),
            others=("dent", "pinhole"),
        )
    ),
    "three": Truth.of(mined_pair(SMALL, LARGE, STAIN, others=("pinhole",))),
    "one": Truth.of(mined_pair(SCRATCH)),
    "stains": Truth.of(mined_pair(STAINS, others=("dent",))),
}
LABELS = ["scratch", "dent", "pinhole"]
PLACES = ["upper left", "lower right", "centre"]
SIZES = ["small", "large", "medium"]
COUNTS = ["1", "2", "3"]
TONES = ["darker", "brighter", "similar in tone"]


def codes_of_choice(pair: str, about: str, question: str, options: list[str], right: int):
    choice = Choice.model_validate(
        {"about": about, "question": question, "options": options, "right": right}
    )
    return [one.code for one in choice_failures(choice, TRUTHS[pair])]


@pytest.mark.parametrize(
    ("about", "question", "options", "right", "wrong"),
    [
        ("label", "Which defect is visible at the upper left?", LABELS, 0, 1),
        ("label", "Which defect is in the lower right region?", LABELS, 1, 0),
        ("label", "What type of defect is large?", LABELS, 1, 0),
        ("label", "What kind of defect is the dark one?", LABELS, 0, 1),
        ("count", "How many defects are at the upper left?", COUNTS, 0, 1),
        ("count", "How many large defects are there?", COUNTS, 0, 1),
        ("place", "Where is the large defect?", PLACES, 1, 0),
        ("size", "How large is the defect at the lower right?", SIZES, 1, 0),
        ("contrast", "How does the large defect look?", TONES, 1, 0),
        ("presence", "Is the defect at the lower right large?", ["Yes", "No"], 0, 1),
    ],
)
def test_a_choice_is_about_what_its_question_picks_out(
    about: str, question: str, options: list[str], right: int, wrong: int
) -> None:
    assert codes_of_choice("two", about, question, options, right) == []
    assert codes_of_choice("two", about, question, options, wrong) == ["wrong_option"]


@pytest.mark.parametrize(
    ("about", "question", "options"),
    [
        ("place", "Where is the scratch?", ["upper left", "centre", "middle left"]),
        ("size", "How large is the scratch?", ["small", "tiny", "medium"]),
        ("label", "Which other defect is there than the one at the upper left?", LABELS),
        ("label", "Which defect is at the centre?", LABELS),
    ],
)
def test_a_choice_is_unchecked_where_nobody_can_tell_what_it_is_about(
    about: str, question: str, options: list[str]
) -> None:
    assert "unchecked" in codes_of_choice("twice", about, question, options, 0)


@pytest.mark.parametrize(
    ("question", "options", "code"),
    [
        ("How many scratches are there?", ["2 scratches", "1 scratch", "3 scratches"], None),
        ("How many scratches are there?", ["two", "one", "three defects"], None),
        ("How many defects are there?", ["2 defects", "1 defect", "3"], None),
        ("How many defects are there?", ["2 scratches", "1 scratch", "3"], None),
        ("How many scratches are there?", ["2 dents", "1 dent", "3 dents"], "option_unknown"),
        ("How many scratches are there?", ["2", "1", "3 parts"], "option_unknown"),
        ("How many scratches are there?", ["2", "1", "3 or more"], "option_unknown"),
    ],
)
def test_an_option_that_counts_is_a_number_and_a_true_noun(
    question: str, options: list[str], code: str | None
) -> None:
    assert set(codes_of_choice("twice", "count", question, options, 0)) == ({code} - {None})


def test_an_option_that_counts_one_of_several_labels_is_unknown() -> None:
    options = ["2 scratches", "1 scratch", "3 scratches"]
    codes = codes_of_choice("two", "count", "How many defects are there?", options, 0)
    assert set(codes) == {"option_unknown"}


RIGHT = """
two | Which defect is at the lower right? | It is a dent.
two | Which defect is darker? | The scratch.
two | Which of the two defects is large? | The dent.
two | What is at the upper left? | A scratch.
two | Is there a defect at the lower right? | Yes, a dent.
two | Is there any defect at the lower right? | There is a dent.
two | Is there any defect at the centre? | No.
two | Does the upper left show a scratch? | Yes.
two | Is the defect at the lower right a scratch? | No, it is a dent.
two | Is the defect at the lower right a dent? | Yes, it is large.
two | Is the defect at the lower right large? | Yes.
two | Is the defect at the lower right small? | No.
two | Is the large defect at the lower right? | Yes.
two | How large is the defect at the lower right? | It is large.
two | Where is the large defect? | At the lower right.
two | How many defects are at the upper left? | One.
two | Is the scratch at the lower right? | No, it is at the upper left.
two | Where is the dent? | The dent is at the lower right and is large.
twice | Is the scratch at the lower right large? | Yes.
twice | How many scratches are there? | Two.
twice | Where are the scratches? | At the upper left and at the lower right.
stains | How many stains are at the upper left? | One.
stains | Are the stains of medium size? | Yes.
"""
WRONG = """
two | Which defect is at the lower right? | It is a scratch.
two | Which defect is darker? | The dent.
two | Which of the two defects is large? | The scratch.
two | What is at the upper left? | A dent.
two | What about the lower right? | There is a scratch.
two | Look at the upper left. Which defect is there? | A dent.
two | What other defect is there besides the scratch at the upper left? | A scratch.
two | Are both defects at the upper left? | Yes.
two | Is there a defect at the lower right? | Yes, a scratch.
two | Is there any defect at the lower right? | There is a scratch.
two | Does the upper left show a dent? | Yes.
two | Does the lower right show a dent? | No.
two | Is the defect at the lower right a scratch? | Yes.
two | Is the defect at the lower right a dent? | No.
two | Is the defect at the lower right a dent? | No, it is a scratch.
three | Is the defect at the lower right a scratch? | No, it is a stain.
two | Is the defect at the lower right large? | No.
two | Is the defect at the lower right small? | No, it is small.
two | Is the large defect at the upper left? | Yes.
two | Is the large defect at the lower right? | No.
two | How large is the defect at the lower right? | It is small.
two | Where is the large defect? | At the upper left.
two | Where is the defect? | At the upper left.
two | How many defects are at the upper left? | Two.
two | How many defects are at the upper left? | There are two defects.
twice | Are the scratches small? | Yes.
twice | Are both scratches at the upper left? | Yes.
twice | Is there one scratch at the upper left? | No.
twice | Is one of the scratches small? | No.
twice | Is the scratch small? | Yes.
twice | Is the scratch small? | No.
twice | Is the scratch at the lower right small? | Yes.
twice | Is the scratch at the lower right large? | No.
twice | Is there a large scratch at the upper left? | Yes.
twice | How large is the scratch at the upper left? | Large.
stains | Is the stain darker? | No.
stains | Is the stain at the upper left small? | No.
one | Is the scratch deep? | No.
"""


def rows(text: str) -> list[list[str]]:
    return [line.split(" | ") for line in text.strip().splitlines()]


@pytest.mark.parametrize(("pair", "question", "answer"), rows(RIGHT))
def test_right_answers(pair: str, question: str, answer: str) -> None:
    assert judge_exchange(question, answer, TRUTHS[pair]).failures == ()


@pytest.mark.parametrize(("pair", "question", "answer"), rows(WRONG))
def test_wrong_answers(pair: str, question: str, answer: str) -> None:
    assert judge_exchange(question, answer, TRUTHS[pair]).failures


def test_what_a_question_picked_out_is_spoken_of_next() -> None:
    truth = TRUTHS["two"]
    first = judge_exchange("Where is the scratch?", "At the upper left.", truth)
    asked = "How large is the defect at the lower right?"
    then = judge_exchange(asked, "Large.", truth, first.label)
    assert (then.failures, then.label) == ((), "dent")
    assert not judge_exchange("Where is it?", "Lower right.", truth, then.label).failures
    assert judge_exchange("Where is it?", "Upper left.", truth, then.label).failures
    is_large = "Is the defect at the lower right large?"
    assert judge_exchange(is_large, "Yes.", truth).label == "dent"
    assert judge_exchange(is_large, "No.", truth, first.label).failures


TRUE = """
twice | There are two scratches.
twice | There is a small scratch at the upper left and a large scratch at the lower right.
twice | A small scratch is at the upper left. A large scratch is at the lower right.
twice | Two scratches are visible at the upper left and lower right.
twice | The scratch at the upper left is small.
twice | The small scratch is at the upper left.
two | There is a small scratch at the upper left and a large dent at the lower right.
two | There is a scratch and a dent. The large defect is at the lower right.
two | The large defect is a dent; the small defect is a scratch.
two | In the upper left region is a scratch. In the lower right region there is a dent.
two | A dent is at the lower right. It is large. A scratch is at the upper left, which is small.
"""
FALSE = """
twice | There are two scratches at the upper left.
twice | Both scratches are small.
twice | A large scratch is at the upper left.
twice | A scratch is at the upper left. It is large.
twice | Scratches are visible at the upper left.
twice | The scratch at the upper left is large.
twice | The scratches are small.
twice | Each scratch is small.
twice | The two defects are large.
twice | There are two scratches. They are at the upper left.
twice | A small scratch is at the lower right, a large scratch at the upper left.
twice | A scratch is at the upper left and another scratch is at the upper left.
two | A scratch and a dent are visible. The defect at the lower right is a scratch.
two | A scratch and a dent are visible. The large defect is at the upper left.
two | A scratch and a dent are visible. The defect at the upper left is large.
two | A scratch and a dent are visible. Both defects are small.
two | Two small defects are visible, a scratch and a dent.
two | Two defects are visible at the upper left: a scratch and a dent.
two | In the lower right region the query shows a scratch. There is a dent.
two | There is a scratch. There is a dent. The defects are dark.
two | The large defect is a scratch, and there is a dent.
"""


@pytest.mark.parametrize(("pair", "text"), rows(TRUE))
def test_true_captions(pair: str, text: str) -> None:
    assert judge_caption(text, TRUTHS[pair]).failures == ()


@pytest.mark.parametrize(("pair", "text"), rows(FALSE))
def test_captions_that_are_not_true(pair: str, text: str) -> None:
    assert judge_caption(text, TRUTHS[pair]).failures


@pytest.mark.parametrize("text", ["Both scratches are small.", "The scratch is large."])
def test_what_is_true_of_some_is_unchecked(text: str) -> None:
    assert [one.code for one in judge_caption(text, TRUTHS["twice"]).failures] == ["unchecked"]
