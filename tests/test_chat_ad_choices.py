"""Of a choice exactly one option is right, each letter as often, and no answer is in doubt."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from mined_pairs import SIZE, made_up_pair

from adcopilot_edge.prompt import DEFAULT_PROMPT, NO_DEFECT, SWAPPED_VERDICT
from adcopilot_edge.training.chat_ad.cells import PLACES, are_any_close, is_inside_a_cell
from adcopilot_edge.training.chat_ad.choices import LETTERS, Choice, choice_kinds, write_choice
from adcopilot_edge.training.chat_ad.distractors import wrong_types
from adcopilot_edge.training.chat_ad.facts import size_word
from adcopilot_edge.training.chat_ad.generate import generate, random_for
from adcopilot_edge.training.chat_ad.mined import DefectFacts, MinedDefect, MinedPair
from adcopilot_edge.training.chat_ad.phrasebook import draw_voice
from adcopilot_edge.training.places import place_word
from adcopilot_edge.training.words import numeral
from adcopilot_edge.types import BBox


@cache
def choices(count: int = 300) -> list[tuple[MinedPair, Choice]]:
    pairs = [made_up_pair(number) for number in range(count)]
    return [
        (pair, write_choice(pair, kind, draw_voice("", random_for(number, kind))))
        for number, pair in enumerate(pairs)
        for kind in choice_kinds(pair)
    ]


def is_true(pair: MinedPair, choice: Choice, option: str) -> bool:
    """Whether an option is true of the pair, by the pair's own facts."""
    width, height = pair.query_size
    numbers = ["none", *map(numeral, range(1, 13))]
    boxes = [box for defect in pair.defects for box in defect.boxes]
    if option == NO_DEFECT or choice.kind == "verdict":
        return pair.is_normal == (option in (NO_DEFECT, "No"))
    if choice.kind == "type":
        return option in pair.labels
    if choice.kind == "number":
        return len(boxes) == int(option if option.isdigit() else numbers.index(option))
    asked = choice.question.split("\n")[0].split(" A. ")[0].split(" A) ")[0].lower()
    meant = [one for one in pair.defects if re.search(rf"\b{one.label[:-1]}", asked)]
    meant = meant or list(pair.defects)
    if choice.kind == "size":
        return option in {one.facts.size for one in meant if one.facts is not None}
    return option in {
        place_word(box, height=height, width=width) for one in meant for box in one.boxes
    }


def test_exactly_one_option_is_right_and_it_is_the_one_that_is_answered() -> None:
    kinds = Counter(choice.kind for _, choice in choices())
    assert min(kinds.values()) > 60, kinds
    for pair, choice in choices():
        right = [option for option in choice.options if is_true(pair, choice, option)]
        assert len(right) == 1, (pair, choice)
        assert choice.letter == LETTERS[choice.options.index(right[0])]
        assert len(set(choice.options)) == len(choice.options)
        assert choice.answer in (
            choice.letter,
            f"{choice.letter}. {right[0]}",
            f"{choice.letter}) {right[0]}",
        )


def test_options_stand_in_the_question_in_their_order() -> None:
    for _, choice in choices():
        found = re.findall(
            r"(?:^|\s)([A-E])[.)] (.+?)(?=\.?\s[A-E][.)] |\.? [A-Z][a-z]+ |\n)", choice.question
        )
        assert [letter for letter, _ in found] == list(LETTERS[: len(choice.options)]), choice
        assert [words.removesuffix(".") for _, words in found] == list(choice.options), choice


@pytest.mark.parametrize("kind", ["type", "location", "size", "number"])
def test_each_letter_is_right_about_equally_often(kind: str) -> None:
    expected: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    defective = [pair for pair in map(made_up_pair, range(120)) if pair.defects]
    for pair in [pair for pair in defective if kind in choice_kinds(pair)]:
        for seed in range(40):
            choice = write_choice(pair, kind, draw_voice("", random_for(seed, pair.key)))  # type: ignore[arg-type]
            places = len(choice.options) - (choice.options[-1] == NO_DEFECT)
            expected.update(dict.fromkeys(LETTERS[:places], 1 / places))
            seen[choice.letter] += 1
    assert sum(seen.values()) > 800
    for letter, number in expected.items():
        assert abs(seen[letter] - number) < 5 * number**0.5, (seen, expected)


def test_no_defect_stands_last_and_is_right_for_a_normal_pair() -> None:
    for pair, choice in choices():
        if NO_DEFECT in choice.options:
            assert choice.options[-1] == NO_DEFECT
            assert (choice.letter == LETTERS[len(choice.options) - 1]) == pair.is_normal
    assert all(NO_DEFECT in choice.options for _, choice in choices() if choice.kind == "type")


def test_questions_of_the_runtime_have_their_share_and_a_letter_alone() -> None:
    verdicts = [choice for _, choice in choices() if choice.kind == "verdict"]
    plain = [one for one in verdicts if one.question == DEFAULT_PROMPT.tasks["verdict"]]
    swapped = [one for one in verdicts if one.question == SWAPPED_VERDICT]
    assert len(plain) > len(verdicts) * 0.12
    assert swapped
    assert all(one.answer == one.letter for one in plain + swapped)
    assert {one.options for one in plain} == {("Yes", "No")}


def test_distractors_are_those_of_the_category_first() -> None:
    pair = made_up_pair(1, other_labels=("bent wire", "hole", "oil stain"))
    assert pair.labels == ("broken teeth",)
    for seed in range(20):
        drawn = wrong_types(pair, 3, random_for(seed))
        assert sorted(drawn) == ["bent wire", "hole", "oil stain"]
        assert set(wrong_types(pair, 2, random_for(seed))) < set(drawn)


@pytest.mark.parametrize(
    ("shown", "other"),
    [("large break", "small break"), ("missing cable", "missing wire"), ("crack", "scratch")],
)
def test_another_kind_of_the_same_thing_is_a_distractor(shown: str, other: str) -> None:
    pair = made_up_pair(1, defects=(MinedDefect(label=shown),), other_labels=(other, "bent pin"))
    assert sorted(wrong_types(pair, 2, random_for(0))) == sorted([other, "bent pin"])


@pytest.mark.parametrize(
    ("shown", "other", "never"),
    [
        ("scratch", "Scratches", {"Scratches", "scratch"}),
        ("crack", "fine crack", {"fine crack", "crack"}),
        ("contamination", "combined", {"combined", "stain", "foreign object"}),
        ("oil stain", "stain", {"stain", "discolouration"}),
        ("hole", "poke", {"hole", "missing part"}),
        ("contamination", "oil stain", {"oil stain"}),
        ("stain", "contamination", {"contamination", "discolouration", "rust"}),
    ],
)
def test_what_might_be_meant_too_is_no_distractor(shown: str, other: str, never: set[str]) -> None:
    pair = made_up_pair(1, defects=(MinedDefect(label=shown),), other_labels=(other, "bent wire"))
    drawn = {name for seed in range(60) for name in wrong_types(pair, 4, random_for(seed))}
    assert drawn
    assert not drawn & never


@pytest.mark.parametrize(
    "label",
    [
        "combined",
        "defect",
        "class 3",
        "logical anomalies",
        "bad",
        "several defects at once",
        "damage",
    ],
)
def test_beside_a_type_that_may_be_anything_no_type_is_wrong(label: str) -> None:
    pair = made_up_pair(1, defects=(MinedDefect(label=label),), other_labels=("hole", "crack"))
    assert "type" not in choice_kinds(pair)


def test_general_distractors_need_a_type_whose_meaning_is_known() -> None:
    strange = made_up_pair(1, defects=(MinedDefect(label="zq-7"),), other_labels=("hole",))
    assert "type" not in choice_kinds(strange)
    known = made_up_pair(1, defects=(MinedDefect(label="scratch"),), other_labels=())
    assert "type" in choice_kinds(known)


@pytest.mark.parametrize(
    ("box", "is_clear"),
    [
        pytest.param((10, 10, 40, 40), True, id="inside"),
        pytest.param((80, 10, 120, 40), False, id="over a border"),
        pytest.param((84, 10, 99, 40), False, id="centre near a border"),
        pytest.param((0, 200, 60, 240), True, id="at the image's edge"),
        pytest.param((130, 110, 170, 130), True, id="in the centre"),
        pytest.param((10, 10, 290, 40), False, id="over three cells"),
    ],
)
def test_a_place_is_asked_only_inside_a_cell(box: BBox, is_clear: bool) -> None:
    assert is_inside_a_cell(box, SIZE) is is_clear
    assert ("location" in choice_kinds(one_defect(box))) is is_clear


def one_defect(*boxes: BBox, place: str | None = None) -> MinedPair:
    width, height = SIZE
    facts = DefectFacts(
        place=place or place_word(boxes[0], height=height, width=width), area=0.005, size="small"
    )
    defect = MinedDefect(label="scratch", boxes=boxes, facts=facts)
    return made_up_pair(1, defects=(defect,))


def test_a_place_that_mining_tells_otherwise_is_not_asked() -> None:
    assert "location" not in choice_kinds(one_defect((10, 10, 40, 40), place="centre"))


def test_a_number_is_asked_only_of_boxes_that_are_apart() -> None:
    near, far = ((10, 10, 40, 40), (41, 10, 70, 40)), ((10, 10, 40, 40), (60, 10, 90, 40))
    assert are_any_close(near, SIZE)
    assert not are_any_close(far, SIZE)
    assert "number" not in choice_kinds(one_defect(*near))
    assert "number" in choice_kinds(one_defect(*far))


@pytest.mark.parametrize(
    ("area", "is_clear"), [(0.005, True), (0.009, False), (0.011, False), (0.05, True)]
)
def test_a_size_is_asked_only_away_from_the_border_of_two_words(
    area: float, is_clear: bool
) -> None:
    facts = DefectFacts(place="upper left", area=area, size=size_word(area))
    defect = MinedDefect(label="scratch", boxes=((10, 10, 40, 40),), facts=facts)
    assert ("size" in choice_kinds(made_up_pair(1, defects=(defect,)))) is is_clear


def test_there_are_nine_places() -> None:
    assert len(set(PLACES)) == 9
    assert PLACES[0] == "upper left"
    assert PLACES[4] == "centre"


def test_samples_hold_the_letter_and_the_truth() -> None:
    for number in range(40):
        pair = made_up_pair(number)
        for sample in generate(pair, tasks=["choice", "locate"], per_pair=4, seed=5):
            if sample.task == "choice":
                assert sample.choice
                assert sample.turns[1].text.startswith(sample.choice)
                assert sample.bboxes == ()
            else:
                items = json.loads(sample.turns[1].text.replace("<bbox>", "[1, 2, 3, 4]"))
                assert [item["label"] for item in items] == list(sample.labels)
                assert sample.bboxes == sample.boxes
            assert sorted(set(sample.labels)) == list(pair.labels if pair.is_placed else ())


def test_location_questions_are_many_and_the_runtime_asks_its_own() -> None:
    asked = Counter(
        sample.turns[0].text
        for number in range(150)
        for sample in generate(made_up_pair(number), tasks=["locate"], per_pair=4, seed=5)
    )
    assert len(asked) > 200
    assert asked[DEFAULT_PROMPT.tasks["locate"]] > asked.total() / 8


def test_paths_are_kept() -> None:
    sample = generate(made_up_pair(1), tasks=["choice"], per_pair=1, seed=0)[0]
    assert (sample.query, sample.template) == (Path("1.png"), Path("good.png"))
    assert sample.key == "made-up/1.png:choice:0"
