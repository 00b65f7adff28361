"""Labels as words and descriptions of defects: our files, a user's, and files that are wrong."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from pathlib import Path

import pytest

from adcopilot_edge.deeppcb_files import LABELS
from adcopilot_edge.errors import ConfigError
from adcopilot_edge.training.chat_ad.knowledge import (
    Knowledge,
    load_knowledge,
    plain_words,
    shipped_files,
)
from adcopilot_edge.training.chat_ad.magnetic_tile import TYPES
from adcopilot_edge.training.chat_ad.real_iad import DEFECTS


@pytest.fixture(scope="module")
def ours() -> Knowledge:
    return load_knowledge()


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("broken_large", "broken large"),
        ("rolled-in_scale", "rolled in scale"),
        ("MouseBite", "mouse bite"),
        ("BAD", "bad"),
        ("additional_1_nut_", "additional 1 nut"),
        ("PCB  board\n", "pcb board"),
    ],
)
def test_plain_words(label: str, words: str) -> None:
    assert plain_words(label) == words


@pytest.mark.parametrize(
    ("category", "label", "words", "part"),
    [
        ("bottle", "broken_large", "large break", "rim of the bottle"),
        ("whatever", "BAD", "defect", ""),
        ("group12345", "pin-hole", "pin hole", "tiny hole"),
        ("group12345", "mousebite", "mouse bite", "copper trace"),
        ("NEU-DET", "rolled-in_scale", "rolled-in scale", "pressed into the steel"),
        ("GC10-DET", "10_yaozhed", "waist fold", "across the middle"),
        ("metal_nut", "color", "colour stain", "on the metal"),
        ("carpet", "color", "colour stain", "carpet"),
        ("hazelnut", "print", "print", "where there should be none"),
        ("pcb3", "bent,melt", "bent part and melted area", "; a spot where heat"),
        ("capsules", "bubble,discolor,leak", "bubble, discolouration and leak", "; a capsule from"),
        ("capsules", "bubble,bubble", "bubble", "a bubble of air in a capsule"),
        ("x", "deep_scratch", "deep scratch", ""),
        ("x", " , ", " , ", ""),
    ],
)
def test_labels_become_words(
    ours: Knowledge, category: str, label: str, words: str, part: str
) -> None:
    found, description = ours.look_up(category, label)
    assert found == words
    assert part in description
    assert bool(description) == bool(part)


def test_products_have_names(ours: Knowledge) -> None:
    names = [ours.product(name) for name in ("metal_nut", "group00041", "PCB2", "gc10", "line 7")]
    assert names == ["metal nut", "bare circuit board", "circuit board", "steel sheet", ""]


def test_all_types_of_the_readers_are_described(ours: Knowledge) -> None:
    for category, labels in [
        ("group00041", LABELS),
        ("magnetic tile", TYPES),
        ("toy", tuple(DEFECTS.values())),
        ("commutator", ("defect",)),
        ("surface", ("defect",)),
    ]:
        assert [label for label in labels if not ours.look_up(category, label)[1]] == []


def test_our_files_agree_and_name_no_alias_in_vain() -> None:
    files = shipped_files()
    entries = Counter(
        (kind, key)
        for one in files.values()
        for kind in ("aliases", "defects", "categories")
        for key in getattr(one, kind)
    )
    assert [entry for entry, count in entries.items() if count > 1] == []
    for one in files.values():
        for topic in (one, *one.categories.values()):
            assert [key for key, words in topic.aliases.items() if key == words] == []
            for words, description in topic.defects.items():
                assert not description.endswith("."), words
                assert description[0].islower(), words


def test_no_description_is_of_a_word_that_no_label_becomes(ours: Knowledge) -> None:
    """An alias of a category that turns one of its described words into another would hide it."""
    for one in shipped_files().values():
        for category, topic in one.categories.items():
            name = re.sub(r"\[(.).*?\]", r"\1", category).replace("*", "")  # one that fits
            for words in topic.defects:
                assert ours.look_up(name, words)[1] == topic.defects[words], (category, words)


def test_a_file_of_the_user_is_put_over_ours(tmp_path: Path) -> None:
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text(
        '[aliases]\n"Typ 7" = "cold shut"\n[defects]\nscratch = "our scratch"\n'
        '[categories.bottle]\naliases = { broken-large = "mouth break" }\n'
        '[categories."line*"]\nname = "lid"\n[categories."line 7"]\nname = "big lid"\n'
    )
    second.write_text('[categories."line*".defects]\n"cold shut" = "a seam"\n')
    known = load_knowledge([first, second])
    assert known.look_up("bottle", "broken_large") == ("mouth break", "")
    assert known.look_up("bottle", "broken_small")[0] == "small break"
    assert known.look_up("x", "scratch") == ("scratch", "our scratch")
    assert known.look_up("line-3", "typ-7") == ("cold shut", "a seam")
    assert [known.product(name) for name in ("line_7", "line_8")] == ["big lid", "lid"]
    assert load_knowledge().look_up("x", "scratch")[1] != "our scratch"
    assert pickle.loads(pickle.dumps(known)).look_up("bottle", "broken_large")[0] == "mouth break"


def test_what_a_user_says_of_all_products_wins_over_ours_of_one(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        '[aliases]\n"broken large" = "crater"\n[defects]\nscratch = "OURS"\n'
        '[categories."macaroni*"]\nname = "pasta"\n'
        '[categories."macaroni1"]\ndefects = { chip = "a piece that broke off" }\n'
        '[categories."pcb*"]\nname = "our board"\n'
        '[categories.lid]\ndefects = { scratch = "of a lid" }\n'
    )
    known, ours = load_knowledge([mine]), load_knowledge()
    assert known.look_up("capsules", "scratch") == ("scratch", "OURS")
    assert known.look_up("lid", "scratch") == ("scratch", "of a lid")
    assert known.look_up("bottle", "broken_large")[0] == "crater"
    assert [known.product(name) for name in ("macaroni1", "macaroni2")] == ["pasta", "pasta"]
    assert ours.look_up("macaroni1", "chip")[0] == "chipped edge"
    assert known.look_up("macaroni1", "chip") == ("chip", "a piece that broke off")
    assert known.product("pcb1") == "our board"
    assert ours.look_up("pcb1", "bent")[1]
    assert known.look_up("pcb1", "bent") == ours.look_up("pcb1", "bent")


def test_all_patterns_that_fit_a_category_count_the_last_one_first(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        '[categories."line*"]\nname = "part"\ndefects = { dent = "a", pit = "b" }\n'
        '[categories."line [78]"]\nname = "lid"\ndefects = { dent = "c" }\n'
        '[categories."line 7"]\ndefects = { burr = "d" }\n'
    )
    known = load_knowledge([mine])
    for line, names in (("line 7", "lid"), ("line 8", "lid"), ("line 9", "part")):
        assert known.product(line) == names
    found = {label: known.look_up("line 7", label)[1] for label in ("dent", "pit", "burr")}
    assert found == {"dent": "c", "pit": "b", "burr": "d"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "can't read.*No such file"),
        ("[aliases", "not valid TOML"),
        ("[defect]\na = 'b'\n", "defect: Extra inputs"),
        ("[defects]\na = 3\n", r"defects\.a: .*string"),
        ("[defects]\na = ''\n", r"defects\.a: .*one line"),
        ("[defects]\na = 'two\\nlines'\n".replace("'", '"'), r"defects\.a: .*one line"),
        ("[defects]\n'pin hole' = 'x'\npin_hole = 'y'\n", "there twice"),
        ("[categories.a]\ntitle = 'x'\n", r"categories\.a\.title: Extra"),
        (b"\xff\xfe", "can't read"),
    ],
)
def test_a_file_that_is_wrong_is_refused(
    tmp_path: Path, text: str | bytes | None, words: str
) -> None:
    path = tmp_path / "mine.toml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=rf"(?s)mine\.toml.*{words}|{words}.*mine\.toml"):
        load_knowledge([path])
