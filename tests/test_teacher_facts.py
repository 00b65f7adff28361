"""Why a sentence fails, and what may be said of a label whatever its form and its facts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from teacher_pairs import SCRATCH, STAINS, UNPLACED, mined_pair

from adcopilot_edge.training.chat_ad.teacher.claims import judge_caption, judge_text
from adcopilot_edge.training.chat_ad.teacher.truth import Truth

ONE = Truth.of(mined_pair(SCRATCH))
NORMAL = Truth.of(mined_pair())


def failures(text: str, truth: Truth) -> list[tuple[str, str]]:
    return [(one.code, one.words) for one in judge_caption(text, truth).failures]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("There is a dent at the upper left.", "other_label"),
        ("There is a scratch and a chip.", "unknown_defect"),
        ("There is a scratch and a weld splatter.", "unknown_defect"),
        ("There is a scratch and a thingumabob.", "unknown_thing"),
        ("There is no scratch.", "denied_label"),
        ("There is no defect.", "verdict"),
        ("A scratch is at the lower left.", "place"),
        ("A scratch is everywhere.", "place_unchecked"),
        ("Two scratches are visible.", "count"),
        ("A scratch of 3 mm is visible.", "number"),
        ("A scratch is at [12, 13, 40, 50].", "coordinates"),
        ("A scratch is at (12, 13).", "coordinates"),
        ("A scratch is 40 px wide.", "coordinates"),
        ("A large scratch is visible.", "size"),
        ("A bright scratch is visible.", "contrast"),
        ("A round scratch is visible.", "shape"),
        ("A vertical scratch is visible.", "direction"),
        ("A red scratch is visible.", "colour"),
        ("A deep scratch is visible.", "unchecked"),
        ("A scratch glitters at the upper left.", "unknown_word"),
        ("Perhaps there is a scratch.", "negation_unclear"),
        ("There is not only a scratch.", "negation_unclear"),
        ("The template has a scratch.", "template"),
        ("Ein Kratzer, größer als 我.", "unreadable"),
        ("A sc\u200bratch is visible.", "unreadable"),
        ("**A scratch** is visible.", "unreadable"),
        ("The query sample is defective.", "label_omitted"),
        ("...", "empty"),
    ],
)
def test_a_failure_says_what_it_is_for(text: str, code: str) -> None:
    assert code in [one for one, _ in failures(text, ONE)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The part is intact, with a dent.", "invented_defect"),
        ("At the upper left the part is darker.", "invented_detail"),
        ("The part is identical apart from the edge.", "exception"),
        ("The part lies on the background.", "unchecked"),
    ],
)
def test_a_failure_of_a_normal_pair_says_what_it_is_for(text: str, code: str) -> None:
    assert code in [one for one, _ in failures(text, NORMAL)]


def test_words_of_a_failure_are_those_of_the_text() -> None:
    assert failures("The scratch is at the bottom left.", ONE) == [("place", "bottom left")]


@pytest.mark.parametrize(
    ("text", "is_true"),
    [
        ("Two stains are visible.", True),
        ("There are stains at the upper left and at the upper right.", True),
        ("The stains are of medium size.", True),
        ("A stain is visible.", True),
        ("A single stain is visible.", False),
        ("Three stains are visible.", False),
        ("A stain is at the centre.", False),
        ("The stains are darker than the template.", False),
        ("The stains are compact.", False),
    ],
)
def test_a_defect_in_two_places(text: str, is_true: bool) -> None:
    truth = Truth.of(mined_pair(STAINS, others=("dent",)))
    assert (failures(text, truth) == []) is is_true


@pytest.mark.parametrize(
    ("text", "is_true"),
    [
        ("The query sample has a broken large area.", True),
        ("A large part of the nut is broken.", True),
        ("The nut is broken.", True),
        ("The nut is broken at the upper left.", False),
        ("One broken large area is visible.", False),
        ("A broken small area is visible.", False),
        ("The nut has a small broken area.", False),
        ("The nut is not broken.", False),
    ],
)
def test_of_a_defect_without_a_place_nothing_may_be_said_but_that_it_is_there(
    text: str, is_true: bool
) -> None:
    truth = Truth.of(mined_pair(UNPLACED, others=("broken small", "contamination")))
    assert (failures(text, truth) == []) is is_true


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("pin-hole", "A pinhole is visible."),
        ("pinhole", "A pin hole is visible."),
        ("mouse_bite", "A mouse bite is visible."),
        ("mousebite", "There are no defects other than a mouse bite."),
        ("Bent wire", "A wire is bent."),
        ("missing wire", "A wire is missing."),
        ("thread_side", "The thread side is damaged."),
        ("scratches", "Scratches are visible."),
        ("rolled-in scale", "Rolled in scale is visible."),
        ("discolouration", "A discoloration is visible."),
    ],
)
def test_a_label_is_known_in_other_forms(label: str, text: str) -> None:
    truth = Truth.of(mined_pair(replace(SCRATCH, label=label, description=""), others=("dent",)))
    assert judge_text(text, truth).affirmed == {label}
    assert failures(text, truth) == []


def test_words_that_are_known_to_the_user_may_be_named() -> None:
    text = "The query sample shows a scratch on the hexagon."
    assert [code for code, _ in failures(text, ONE)] == ["unknown_thing", "unknown_word"]
    assert failures(text, Truth.of(mined_pair(SCRATCH), ["hexagon"])) == []
