"""A folder of MMAD as it is published: what is read, left out, missing, refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mmad_folder import (
    BAD,
    GOOD,
    LOCO,
    MASK,
    OTHER_TEMPLATE,
    PILL,
    TEMPLATE,
    container,
    write_mmad,
)

from adcopilot_edge.calibration.mmad import read_mmad
from adcopilot_edge.errors import DatasetError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_mmad(tmp_path / "MMAD")


def test_reads_the_container(root: Path) -> None:
    mmad = read_mmad(root)
    assert [image.name for image in mmad.images] == [GOOD, BAD, LOCO]
    assert [image.is_normal for image in mmad.images] == [True, False, False]
    assert [image.dataset for image in mmad.images] == ["DS-MVTec", "DS-MVTec", "MVTec-LOCO"]
    assert [len(image.questions) for image in mmad.images] == [2, 3, 1]
    assert {image.template for image in mmad.images} == {TEMPLATE}
    assert mmad.known_bad == (PILL,)
    assert (mmad.missing, mmad.left_out) == ((), ())


def test_the_template_may_be_the_similar_one_or_none(root: Path) -> None:
    similar = read_mmad(root, similar_template=True)
    assert {image.template for image in similar.images} == {OTHER_TEMPLATE}
    assert {image.template for image in read_mmad(root, shots=0).images} == {None}


def test_both_spellings_of_a_mask_are_looked_for(root: Path) -> None:
    bad = read_mmad(root).images[1]
    assert bad.mask[0] == MASK
    assert MASK.replace("rbg_mask", "rgb_mask") in bad.mask
    assert read_mmad(root).images[0].mask == ()


def test_what_is_missing_is_listed(root: Path) -> None:
    (root / BAD).unlink()
    mmad = read_mmad(root)
    assert (mmad.missing, mmad.left_out) == ((BAD,), (BAD,))
    assert [image.name for image in mmad.images] == [GOOD, LOCO]
    (root / OTHER_TEMPLATE).unlink()
    with pytest.raises(DatasetError, match=r"none of the 4 images .* missing is, for example, MVT"):
        read_mmad(root, similar_template=True)
    assert read_mmad(root, shots=0).missing == (BAD,)  # which needs no template


def test_an_image_without_a_template_is_missing_it(root: Path) -> None:
    content = container()
    content[GOOD]["random_templates"] = []
    del content[BAD]["random_templates"]
    (root / "mmad.json").write_text(json.dumps(content))
    assert read_mmad(root).missing == (f"(a template for {GOOD})", f"(a template for {BAD})")
    assert read_mmad(root).left_out == (GOOD, BAD)


def test_reads_a_list_of_prompts(root: Path) -> None:
    (root / "mmad.json").unlink()
    entry = {"good_image": TEMPLATE, "test_image": BAD, "prompt": "A defect? A. Yes B. No"}
    entries = [
        entry | {"answer": "A", "task": "Anomaly Detection"},
        entry | {"answer": "a crack", "task": "Defect Description", "prompt": "What?"},
        entry | {"answer": "B", "task": "Anomaly Detection", "test_image": GOOD},
    ]
    (root / "mmad_questions.json").write_text(json.dumps(entries))
    mmad = read_mmad(root)
    assert [(image.name, image.template) for image in mmad.images] == [
        (BAD, TEMPLATE),
        (GOOD, TEMPLATE),
    ]
    assert [question.answer for question in mmad.images[0].questions] == ["A", "a crack"]
    with pytest.raises(DatasetError, match="without similar templates"):
        read_mmad(root, similar_template=True)
    del entries[1]["prompt"], entries[1]["task"]
    (root / "mmad_questions.json").write_text(json.dumps(entries))
    with pytest.raises(DatasetError, match="entry 1: needs text under prompt, task"):
        read_mmad(root)


def test_a_malformed_question_does_not_cost_the_others(root: Path) -> None:
    content = container()
    content[BAD]["conversation"][1]["Answer"] = "G"
    content[LOCO]["conversation"][0]["Options"] = {}
    (root / "mmad.json").write_text(json.dumps(content))
    mmad = read_mmad(root)
    assert [len(image.questions) for image in mmad.images] == [2, 2, 0]
    assert mmad.malformed == (
        f"{BAD}: the answer 'G' is none of the options A, B, C, D, E",
        f"{LOCO}: a question has 2 to 5 options, this one 0",
    )


def test_all_malformed_entries_are_named(root: Path) -> None:
    content = container()
    content[GOOD]["random_templates"] = "one.png"
    content[BAD] = []
    content[LOCO]["mask_path"] = 3
    (root / "mmad.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError) as caught:
        read_mmad(root)
    for words in (
        f"{GOOD}: needs a list of paths under random_templates",
        f"{BAD}: needs a list under conversation",
        f"{LOCO}: needs a path under mask_path",
    ):
        assert words in str(caught.value)


def test_no_mmad(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no MMAD in"):
        read_mmad(tmp_path)
    (tmp_path / "mmad.json").write_text("{")
    with pytest.raises(DatasetError, match="as JSON"):
        read_mmad(tmp_path)
    (tmp_path / "mmad.json").write_text("3")
    with pytest.raises(DatasetError, match="is no question file of MMAD"):
        read_mmad(tmp_path)
