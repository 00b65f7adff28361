"""Counts, the card and the sheet of a curated set; what is held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from curation import SIZE, sample, write_pictures

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.chat_ad.card import CardFacts, write_card
from adcopilot_edge.training.chat_ad.counts import Counts, balance
from adcopilot_edge.training.chat_ad.shards import StoredSample
from adcopilot_edge.training.chat_ad.sheet import choose_samples, draw_sheet
from adcopilot_edge.training.chat_ad.splitting import fraction, held_out_categories

FACTS = CardFacts(
    name='Parts "of" a line',
    splits=["train", "validation"],
    licences={"parts": "CC0-1.0"},
    left_out={("duplicates", "duplicate"): 3},
    settings={"seed": "0"},
    embeds=True,
    split_rule="Whole categories are held out.",
)


@pytest.fixture
def counts() -> Counts:
    counts = Counts()
    counts.add("train", [sample(0), sample(0, task="choice", choice="A")])
    counts.add("train", [sample(0, name="b", task="choice", choice="C", is_anomaly=False)])
    counts.add("validation", [sample(0, name="c")])
    return counts


def test_pairs_and_dialogues_are_counted(counts: Counts) -> None:
    told = counts.to_json()
    assert (told["samples"], told["pairs"], told["normal"], told["defective"]) == (4, 3, 1, 2)
    assert told["splits"] == {"train": 3, "validation": 1}
    assert told["tasks"] == {"choice": 2, "locate": 2}
    assert told["labels"] == {"dent": 2}, "of pairs, not of dialogues"
    assert told["letters"] == {"A": 1, "C": 1}
    assert told["categories"] == {"parts/lid": 4}


def test_balance_tells_how_many_equal_classes_there_are_as_good_as() -> None:
    assert balance({"a": 5, "b": 5, "c": 5}) == {"ratio": 1.0, "effective": 3.0}
    assert balance({"a": 1000, "b": 1}) == {"ratio": 1000.0, "effective": 1.01}
    assert balance({}) == {}


def header_of(card: str) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    header: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return header


def test_the_card_has_the_header_that_the_hub_reads(counts: Counts) -> None:
    header = header_of(write_card(FACTS, counts))
    assert header["pretty_name"] == 'Parts "of" a line'
    assert header["license_name"] == "CC0-1.0"
    assert header["size_categories"] == ["n<1K"]
    assert header["configs"] == [
        {
            "config_name": "default",
            "data_files": [
                {"split": "train", "path": "data/train-*.parquet"},
                {"split": "validation", "path": "data/validation-*.parquet"},
            ],
        }
    ]


def test_the_card_says_what_is_in_the_set_and_what_is_not(counts: Counts) -> None:
    card = write_card(FACTS, counts)
    for line in (
        "| parts | 4 | CC0-1.0 |",
        "| duplicates | duplicate | 3 |",
        "| dent | 2 |",
        "| locate | 2 |",
        "Whole categories are held out.",
    ):
        assert line in card


def test_a_licence_that_nobody_states_is_not_made_up(counts: Counts) -> None:
    facts = CardFacts(
        name="parts",
        splits=["train"],
        licences={},
        left_out={},
        settings={},
        embeds=False,
        split_rule="",
    )
    card = write_card(facts, counts)
    assert "| parts | 4 | not stated |" in card
    assert header_of(card)["license"] == "other"
    assert "Nothing was left out." in card


def test_the_sheet_shows_boxes_where_they_are(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path)
    stored = [StoredSample(sample(n, folder=pictures), None, None) for n in range(3)]
    sheet = np.asarray(draw_sheet(stored))
    green = (sheet == (26, 127, 55)).all(axis=2)
    rows, columns = np.nonzero(green[: sheet.shape[0] // 2, : sheet.shape[1] // 2])
    # The query is drawn 220 pixels wide, 8 from the top, 228 + 8 from the left.
    scale = 220 / SIZE[0]
    assert abs(columns.min() - (236 + 20 * scale)) <= 2
    assert abs(columns.max() - (236 + 30 * scale)) <= 2
    assert abs(rows.min() - (8 + 10 * scale)) <= 2
    assert green[sheet.shape[0] // 2 :, : sheet.shape[1] // 2].any(), "the third, in row two"


def test_samples_of_a_sheet_are_of_all_tasks() -> None:
    class Numbers(list[Any]):
        pass

    splits: Any = [Numbers(range(300)), Numbers(range(300, 400))]
    for count in (16, 20):
        chosen: list[Any] = choose_samples(splits, count)
        assert len(chosen) == count
        assert len({int(one) % 4 for one in chosen}) == 4
        assert max(chosen) >= 300
    small: Any = [Numbers(range(3))]
    assert list(map(int, choose_samples(small, 16))) == [0, 1, 2]  # type: ignore[arg-type]


def test_whole_categories_are_held_out_near_the_share() -> None:
    sizes = {("parts", str(n)): 10 for n in range(10)}
    for seed in range(5):
        held_out = held_out_categories(sizes, share=0.3, seed=seed)
        assert len(held_out) == 3
        assert held_out == held_out_categories(dict(reversed(sizes.items())), share=0.3, seed=seed)
    assert len({held_out_categories(sizes, share=0.3, seed=seed) for seed in range(5)}) > 1


def test_something_is_held_out_and_something_kept() -> None:
    sizes = {("parts", "large"): 1000, ("parts", "small"): 10}
    for share in (0.001, 0.5, 0.99):
        assert len(held_out_categories(sizes, share=share, seed=0)) == 1
    assert held_out_categories(sizes, share=0.001, seed=0) == {("parts", "small")}
    with pytest.raises(ConfigError, match="--split-by pair"):
        held_out_categories({("parts", "one"): 5}, share=0.5, seed=0)


def test_fractions_are_even_and_stay() -> None:
    values = [fraction(0, str(number)) for number in range(400)]
    assert 0.45 < sum(values) / 400 < 0.55
    assert fraction(0, "a", "b") == fraction(0, "a", "b") != fraction(1, "a", "b")
