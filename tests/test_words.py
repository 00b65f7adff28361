"""Small words of English, as labels and sentences need them."""

from __future__ import annotations

import pytest

from adcopilot_edge.training.synthetic.records import DEFECT_LABELS
from adcopilot_edge.training.words import article, listed, numeral, plural, sentences


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("scratch", "a"),
        ("open", "an"),
        ("irregular edge", "an"),
        ("uneven surface", "an"),
        ("unit", "a"),
        ("uniform stain", "a"),
        ("uninsulated wire", "an"),
        ("used part", "a"),
        ("one-sided dent", "a"),
        ("hour mark", "an"),
        ("SMD fault", "an"),
        ("LED", "an"),
        ("USB plug", "a"),
        ("OPEN", "an"),
        ("8 mm hole", "an"),
        ("3 mm hole", "a"),
        ('"odd" defect', "an"),
    ],
)
def test_article(words: str, expected: str) -> None:
    assert article(words) == expected


def test_article_of_what_the_generator_draws_is_by_the_first_letter() -> None:
    for label in DEFECT_LABELS:
        assert article(label) == ("an" if label[0] in "aeiou" else "a")


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("scratch", "scratches"),
        ("mouse bite", "mouse bites"),
        ("broken tooth", "broken teeth"),
        ("impurity", "impurities"),
        ("box", "boxes"),
        ("spray", "sprays"),
        ("leaf", "leaves"),
    ],
)
def test_plural(one: str, many: str) -> None:
    assert plural(one) == many


def test_lists_and_numbers() -> None:
    assert [listed("abc"[:end]) for end in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert listed(["a", "b"], last="or") == "a or b"
    assert [numeral(number) for number in (0, 1, 12, 13)] == ["no", "one", "twelve", "13"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("is it? yes. it is", "Is it? Yes. It is"),
        ("so:\nthe part", "So:\nThe part"),
        ("A. yes", "A. Yes"),
        ("2.5 mm", "2.5 mm"),
        ("", ""),
    ],
)
def test_sentences_begin_with_a_capital(text: str, expected: str) -> None:
    assert sentences(text) == expected
