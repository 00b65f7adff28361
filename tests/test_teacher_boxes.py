"""Boxes and structured claims of a teacher: checked against the true ones, and replaced by them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from teacher_pairs import BENT_EDGE, SCRATCH, STAINS, UNPLACED, mined_pair

from adcopilot_edge.training.chat_ad.mined import MinedDefect, MinedPair
from adcopilot_edge.training.chat_ad.sample import BOX_MARK
from adcopilot_edge.training.chat_ad.teacher.answer import (
    Claim,
    MalformedError,
    Sentence,
    answer_schema,
    read_answer,
    read_piece,
)
from adcopilot_edge.training.chat_ad.teacher.cache import StoredAnswer
from adcopilot_edge.training.chat_ad.teacher.pieces import judge_answer
from adcopilot_edge.training.chat_ad.teacher.settings import TeacherSettings
from adcopilot_edge.training.chat_ad.teacher.structured import mark_boxes, teacher_box
from adcopilot_edge.training.chat_ad.teacher.truth import Truth

SCRATCH_BOX = [33, 33, 200, 100]
FIRST_STAIN, SECOND_STAIN = [33, 33, 167, 167], [800, 33, 967, 200]
SETTINGS = TeacherSettings(base_url="http://localhost/v1", model="teacher", folder=Path("teacher"))


def claim(label: str, box: list[int] | None = None, **changes: object) -> Claim:
    values = {"label": label, "is_anomaly": True, "box": box, "place": None, "count": None}
    return Claim.model_validate({**values, "contrast": None, **changes})


def marked(pair: MinedPair, text: str, *claims: Claim, min_iou: float = 0.5):
    sentence = Sentence(text=text, claims=list(claims))
    return mark_boxes([sentence], pair, Truth.of(pair), min_iou)


def codes(pair: MinedPair, text: str, *claims: Claim) -> list[str]:
    return [one.code for one in marked(pair, text, *claims).failures]


def test_a_box_is_told_in_thousandths_and_is_never_empty() -> None:
    assert list(teacher_box(SCRATCH.boxes[0], (300, 300))) == SCRATCH_BOX
    assert teacher_box((4095.0, 0.0, 4096.0, 0.4), (4096, 4096)) == (999, 0, 1000, 1)


@pytest.mark.parametrize("box", [SCRATCH_BOX, [30, 30, 210, 105], [40, 40, 190, 95]])
def test_a_box_near_the_true_one_becomes_the_true_one(box: list[int]) -> None:
    result = marked(mined_pair(SCRATCH), "A scratch <box> is visible.", claim("scratch", box))
    assert result.failures == ()
    assert result.text == f"A scratch {BOX_MARK} is visible."
    assert result.boxes == SCRATCH.boxes


@pytest.mark.parametrize(
    "box",
    [
        [500, 500, 600, 600],
        [33, 33, 400, 400],
        [200, 100, 33, 33],
        [33, 33, 33, 100],
        [-10, 33, 200, 100],
        [33, 33, 1200, 100],
        [33, 33, 200],
    ],
)
def test_another_box_fails(box: list[int]) -> None:
    assert codes(mined_pair(SCRATCH), "A scratch <box>.", claim("scratch", box)) == ["box"]


def test_how_near_it_must_be_is_a_setting() -> None:
    pair, near = mined_pair(SCRATCH), claim("scratch", [33, 33, 250, 120])
    assert marked(pair, "A scratch <box>.", near, min_iou=0.5).failures == ()
    assert marked(pair, "A scratch <box>.", near, min_iou=0.9).failures


def test_a_box_of_a_defect_in_two_places_is_one_of_them_or_both() -> None:
    pair = mined_pair(STAINS, others=("dent",))
    one = marked(pair, "A stain <box>.", claim("stain", SECOND_STAIN))
    assert one.boxes == STAINS.boxes[1:]
    text = "Stains at the upper left <box> and at the upper right <box>."
    both = marked(pair, text, claim("stain", FIRST_STAIN), claim("stain", SECOND_STAIN))
    assert (both.failures, both.boxes) == ((), STAINS.boxes)


def test_a_mark_at_the_place_of_the_other_box_fails() -> None:
    pair = mined_pair(STAINS, others=("dent",))
    text = "Stains at the upper left <box> and at the upper right <box>."
    swapped = (claim("stain", SECOND_STAIN), claim("stain", FIRST_STAIN))
    assert codes(pair, text, *swapped) == ["box_place", "box_place"]


def test_a_box_around_two_that_touch_stands_for_both() -> None:
    near = MinedDefect(label="stain", boxes=((10.0, 10.0, 50.0, 50.0), (50.0, 10.0, 90.0, 50.0)))
    result = marked(mined_pair(near), "A stain <box>.", claim("stain", [33, 33, 300, 167]))
    assert result.boxes == near.boxes
    assert result.text == f"A stain {BOX_MARK}, {BOX_MARK}."


def test_a_mark_behind_another_defect_fails() -> None:
    pair = mined_pair(SCRATCH, BENT_EDGE)
    text = "A bent edge <box> is visible."
    assert codes(pair, text, claim("scratch", SCRATCH_BOX)) == ["box_label"]


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("A scratch <box>.", ()),
        ("A scratch.", (claim("scratch", SCRATCH_BOX),)),
        ("A scratch <box> <box>.", (claim("scratch", SCRATCH_BOX),)),
        ("A scratch <BOX>.", (claim("scratch", SCRATCH_BOX),)),
        ("A scratch <box> <bbox>.", (claim("scratch", SCRATCH_BOX),)),
    ],
)
def test_marks_without_boxes_fail(text: str, claims: tuple[Claim, ...]) -> None:
    assert codes(mined_pair(SCRATCH), text, *claims) == ["box_count"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (claim("dent"), "claim_label"),
        (claim("pimple"), "claim_label"),
        (claim("scratch", is_anomaly=False), "claim_label"),
        (claim("scratch", place="lower left"), "claim_place"),
        (claim("scratch", place="somewhere"), "claim_place"),
        (claim("scratch", count=2), "claim_count"),
        (claim("scratch", contrast="brighter"), "claim_contrast"),
        (claim("scratch", contrast="red"), "claim_contrast"),
    ],
)
def test_structured_claims_must_be_true(wrong: Claim, code: str) -> None:
    assert codes(mined_pair(SCRATCH), "A scratch.", wrong) == [code]


def test_true_structured_claims_pass() -> None:
    right = claim("Scratches", place="top left", count=1, contrast="darker")
    denied = claim("dent", is_anomaly=False)
    assert codes(mined_pair(SCRATCH), "A scratch.", right, denied) == []
    assert codes(mined_pair(), "No dent.", denied) == []
    assert codes(mined_pair(), "No dent.", claim("dent")) == ["invented_defect"]
    assert codes(mined_pair(UNPLACED), "It is broken.", claim("broken large", count=1)) == [
        "claim_count"
    ]


def test_a_caption_with_boxes_has_all_of_them() -> None:
    pair = mined_pair(SCRATCH, BENT_EDGE, others=("dent",))
    sentence = {
        "text": "There is a scratch <box> and a bent edge.",
        "claims": [claim("scratch", SCRATCH_BOX).model_dump()],
    }
    text = json.dumps({"verdict": "anomaly", "caption": [sentence]})
    settings = SETTINGS.model_copy(update={"tasks": ("caption",)})
    (outcome,) = judge_answer(StoredAnswer(text=text, finish="stop"), pair, settings)
    assert [one.code for one in outcome.failures] == ["box_omitted"]


@pytest.mark.parametrize(
    "text",
    ['{"a": 1}', '```json\n{"a": 1}\n```', '<think>\n{"b": 2}\n</think>\n{"a": 1}', ' {"a": 1} '],
)
def test_json_is_read_from_what_servers_put_around_it(text: str) -> None:
    assert read_answer(text) == {"a": 1}


@pytest.mark.parametrize(
    "text", ["", "Sure! {}", '{"a": 1', "[1]", '{"a": 1} {"a": 2}', "[" * 9999]
)
def test_what_is_no_json_object_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        read_answer(text)


@pytest.mark.parametrize(
    "piece",
    [
        None,
        {},
        [{"text": "A scratch."}],
        [{"text": 5, "claims": []}],
        [{"text": "A scratch.", "claims": [], "more": 1}],
        [{"text": "A scratch.", "claims": [{"label": "scratch"}]}],
        [{"text": "A scratch.", "claims": [claim("scratch").model_dump() | {"count": "1"}]}],
    ],
)
def test_a_piece_of_another_form_is_malformed(piece: object) -> None:
    with pytest.raises(MalformedError, match="caption"):
        read_piece({"caption": piece}, "caption")


def test_the_schema_is_strict_and_stands_alone() -> None:
    schema = answer_schema(("caption", "dialogue", "choice"))
    assert schema["required"] == ["verdict", "caption", "dialogue", "choice"]
    records = [schema, *schema["$defs"].values()]
    for record in records:
        assert record["additionalProperties"] is False
        assert set(record["required"]) == set(record["properties"])
    assert answer_schema(("caption",))["required"] == ["verdict", "caption"]
