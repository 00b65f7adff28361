"""Which queries say nothing new: the search, the rule, and what it does to real pictures."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from curation import BOX, dent, draw_part, fingerprint, pair
from PIL import Image

from adcopilot_edge.training.chat_ad.duplicates import DUPLICATE_BITS, Repeat, find_repeats
from adcopilot_edge.training.chat_ad.fingerprint import (
    Fingerprint,
    distance,
    hash_look,
    take_fingerprint,
)
from adcopilot_edge.training.chat_ad.mined import MinedDefect, MinedPair
from adcopilot_edge.training.chat_ad.near import NearIndex

BASE = random.Random(0).getrandbits(256)


def flipped(count: int) -> int:
    """``BASE`` with its lowest ``count`` bits turned."""
    return BASE ^ ((1 << count) - 1)


@pytest.mark.parametrize("reach", [0, 1, 7, 10, 64])
def test_the_search_finds_what_comparing_all_with_all_finds(reach: int) -> None:
    rng = random.Random(reach)
    strings = [
        BASE ^ sum(1 << bit for bit in rng.sample(range(256), rng.randrange(40))) for _ in range(60)
    ]
    index = NearIndex(reach)
    for number, bits in enumerate(strings):
        assert index.add(bits) == number
    for bits in strings:
        all_of = ((distance(bits, other), number) for number, other in enumerate(strings))
        assert index.near(bits) == sorted(one for one in all_of if one[0] <= reach)


_RNG = random.Random(1)
OTHERS = [(pair(f"other {n}"), fingerprint(_RNG.getrandbits(256))) for n in range(8)]
"""Parts of a category whose looks are far apart, as most are: closeness means something there."""


def find(*queries: tuple[MinedPair, Fingerprint], bits: int = DUPLICATE_BITS) -> list[Repeat]:
    return find_repeats([one for one, _ in queries], [one for _, one in queries], bits=bits)


def repeats(
    *queries: tuple[MinedPair, Fingerprint],
    among: Sequence[tuple[MinedPair, Fingerprint]] = OTHERS,
) -> dict[str, str]:
    """Which query repeats which."""
    found = find(*queries, *among)
    return {one.pair.removeprefix("parts/"): one.of.removeprefix("parts/") for one in found}


def test_equal_pixels_repeat_whatever_is_said_of_them() -> None:
    assert repeats(
        (pair("a", dent()), fingerprint(1, "same")),
        (pair("b", dent(label="scratch")), fingerprint(1, "same")),
        (pair("c", dent()), fingerprint(BASE)),
    ) == {"b": "a"}


def test_pixels_that_are_called_normal_and_defective_are_both_left_out() -> None:
    pairs = [pair("a"), pair("b", dent()), pair("c")]
    found = find_repeats(pairs, [fingerprint(1, "same")] * 3)
    assert [(one.pair, one.contradicts) for one in found] == [
        (f"parts/{name}", True) for name in "abc"
    ]


@pytest.mark.parametrize(("count", "is_repeat"), [(0, True), (10, True), (11, False)])
def test_queries_repeat_up_to_ten_bits(count: int, is_repeat: bool) -> None:
    found = repeats((pair("a"), fingerprint(BASE)), (pair("b"), fingerprint(flipped(count))))
    assert found == ({"b": "a"} if is_repeat else {})


def test_another_defect_on_the_same_part_is_no_duplicate() -> None:
    look = fingerprint(BASE).bits
    x1, y1, x2, y2 = BOX
    beside = (x1 + 20, y1, x2 + 20, y2)
    others = [
        pair("normal"),
        pair("label", dent(label="scratch")),
        pair("place", dent(beside)),
        pair("more", dent(BOX, beside)),
        pair("unplaced", MinedDefect(label="dent")),
    ]
    queries = [(one, fingerprint(look)) for one in (pair("a", dent()), *others)]
    assert repeats(*queries) == {}


def test_defects_that_nobody_can_place_repeat_by_their_pixels_alone() -> None:
    """Shots of one part under a fixed camera, each scratched somewhere."""
    scratch = MinedDefect(label="scratch")
    shots = [(pair(str(n), scratch), fingerprint(flipped(n % 3))) for n in range(9)]
    assert repeats(*shots) == {}
    both = [(pair(name, dent(), scratch), fingerprint(BASE)) for name in ("x", "y")]
    assert repeats(*both) == {}, "one of two has a place"
    copies = [(pair(name, scratch), fingerprint(BASE, "same")) for name in ("a", "b")]
    assert repeats(*shots, *copies) == {"b": "a"}


def test_of_few_queries_nobody_knows_how_alike_their_parts_are() -> None:
    shots = [(pair(str(n)), fingerprint(flipped(n % 3))) for n in range(7)]
    cups = [(replace(one, category="cup"), look) for one, look in OTHERS]
    copies = [(pair(name), fingerprint(BASE, "same")) for name in ("a", "b")]
    assert repeats(*shots, among=()) == {}
    assert repeats(*shots, among=cups) == {}
    assert repeats(*shots[:5], *copies, among=()) == {"b": "a"}


def test_places_are_compared_in_shares_of_the_picture() -> None:
    x1, y1, x2, y2 = BOX
    double = pair("b", dent((2 * x1 + 1, 2 * y1, 2 * x2, 2 * y2)), query_size=(128, 96))
    queries = [(pair("a", dent()), fingerprint(BASE)), (double, fingerprint(BASE))]
    assert repeats(*queries) == {"b": "a"}


def test_a_repeat_is_of_a_query_that_is_kept() -> None:
    found = repeats(
        (pair("a"), fingerprint(BASE)),
        (pair("b"), fingerprint(flipped(8))),
        (pair("c"), fingerprint(flipped(16))),
    )
    assert found == {"b": "a"}, "c is like b, which is not in the set"


def test_where_all_parts_look_alike_closeness_means_less() -> None:
    """Twelve good parts, two and two of which differ in 8 or 16 bits: none repeats another."""
    rng = random.Random(3)
    places = rng.sample(range(256), 96)
    alike = [BASE ^ sum(1 << bit for bit in places[8 * n : 8 * n + 8]) for n in range(12)]
    queries = [(pair(str(n)), fingerprint(look)) for n, look in enumerate(alike)]
    assert repeats(*queries, among=()) == {}
    copies = [(pair(f"copy {n}"), fingerprint(look ^ 1)) for n, look in enumerate(alike[:2])]
    assert repeats(*queries, *copies, among=()) == {"copy 0": "0", "copy 1": "1"}


def test_equal_looks_only_with_zero_bits() -> None:
    queries = [(pair(str(n)), fingerprint(flipped(n))) for n in (0, 1, 0)]
    found = find(*queries, *OTHERS, bits=0)
    assert [(one.of, one.bits) for one in found] == [("parts/0", 0)]


def test_pixels_tell_files_of_any_kind_apart_and_together(tmp_path: Path) -> None:
    picture = Image.fromarray(draw_part(0))
    paths = [tmp_path / name for name in ("a.png", "a.bmp", "b.png")]
    for path in paths[:2]:
        picture.save(path)
    picture.putpixel((3, 3), (7, 7, 7))
    picture.save(paths[2])
    png, bmp, other = map(take_fingerprint, paths)
    assert png == bmp
    assert other.pixels != png.pixels


def test_copies_of_real_pictures_are_near_and_other_pictures_far(shared_data: Path) -> None:
    """The figures that the limit rests on, on a part of the pictures."""
    boards = sorted((shared_data / "deeppcb" / "pairs").glob("*_test.png"))[::40]
    cookies = sorted((shared_data / "cookie" / "training-images").glob("anomaly-*.jpg"))[::2]
    pictures = [Image.open(path).convert("RGB") for path in (*boards, *cookies)]
    looks = [int(hash_look(picture), 16) for picture in pictures]
    copies = [
        distance(look, int(hash_look(_copy(picture)), 16))
        for look, picture in zip(looks, pictures, strict=True)
    ]
    apart = [distance(a, b) for place, a in enumerate(looks) for b in looks[:place]]
    assert max(copies) <= DUPLICATE_BITS
    assert min(apart) >= 2 * DUPLICATE_BITS


def _copy(picture: Image.Image) -> Image.Image:
    """At half the size, as a JPEG of middling quality."""
    file = io.BytesIO()
    half = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
    half.save(file, "JPEG", quality=60)
    return Image.open(file)
