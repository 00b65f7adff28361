"""Boxes decoded under the grammar: with a toy, with a vocabulary of Qwen's size, and in a run."""

from __future__ import annotations

import json
import random
import time
from itertools import islice

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models
from toy import toy_tokenizer

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.runtime.answer import parse_boxes
from adcopilot_edge.runtime.box_grammar import START, BoxGrammar
from adcopilot_edge.runtime.box_guide import BoxGuide, TokenChoices
from adcopilot_edge.runtime.drain import drain
from adcopilot_edge.runtime.engine import open_engine
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.timing import StageClock
from adcopilot_edge.runtime.tokenizer import TextTokenizer
from adcopilot_edge.runtime.vocabulary import Vocabulary

HEIGHT, WIDTH = 448, 448
QWEN_SIZE = 151_643
# A step of the smallest model takes milliseconds. Machines that run tests are slow and shared.
STEP_LIMIT_MS = 5.0

PIECES = [
    *(b"[{", b'[{"', b'{"', b'":', b" [", b"],", b"]}", b'"}', b'"},', b"}]", b'"}]', b"]\n"),
    *(b"bbox", b"bbox_2d", b"label", b' "', b', "', b'": "', b"No", b" defect", b"```", b"json\n"),
    *(b"12", b"100", b", 1", b"stain", b" dent", b'a"', b'x"}, {"', b"\\u00", b"\\", b"]]", b"[["),
]


@pytest.fixture(scope="module")
def small():
    """Each byte and some longer tokens, so that tokens end anywhere in the grammar."""
    texts = [bytes([byte]) for byte in range(256)] + PIECES
    return TokenChoices(Vocabulary(dict(enumerate(texts))), BoxGrammar(height=HEIGHT, width=WIDTH))


@pytest.fixture(scope="module")
def large():
    """As many tokens as Qwen's vocabulary has: bytes, pieces of JSON, and words with marks."""
    starts = [" th", "un", "pre", "\n    ", "_", "de", "ä", "傷", "(", '{"', "\\"]
    middles = [first + second for first in "abcdefghijklmnoprstuvwxyz" for second in "aeioustrn"]
    ends = ["", "ing", "ed", "s", '"', '":', "\\n", "),", ";\n", "()", "ß", "0", '"}']
    words = (a + b + c + d for d in ends for a in starts for b in middles for c in middles)
    texts = [bytes([byte]) for byte in range(256)] + PIECES
    known = {*texts}
    more = (text for text in map(str.encode, words) if text not in known)
    texts += dict.fromkeys(islice(more, QWEN_SIZE - len(texts)))
    rng = random.Random(5)
    rng.shuffle(texts)
    vocabulary = Vocabulary(dict(enumerate(texts)))
    return TokenChoices(vocabulary, BoxGrammar(height=HEIGHT, width=WIDTH))


def say(choices, rng, *, tempt=None):
    """The text of random logits under the guide, and its guide; ``tempt`` gets twenty more."""
    guide = BoxGuide(choices)
    size = max(choices.vocabulary.by_id) + 1
    text = b""
    for _ in range(3000):
        logits = rng.standard_normal(size, dtype=np.float32)
        if tempt is not None:
            logits[tempt] += 20
        token = guide.choose(logits)
        text += choices.vocabulary.by_id[token]
        if guide.is_done:
            break
    return text, guide


def test_the_tokens_of_a_place_are_those_that_fit(small):
    vocabulary, grammar = small.vocabulary, small.grammar
    box = b'[{"bbox_2d": [1, 2, 3, 4]'
    texts = [b"", b"[", b'[{"bb', b'[{"bbox_2d": [', b'[{"bbox_2d": [4', box, b"```"]
    texts += [b'[{"bbox_2d": [44, 1, 4', box + b"}", box + b', "label": "a"']
    texts += [box + b', "label": "' + more for more in (b"", b"\\", b"\\u0")]
    for text in texts:
        place = grammar.follow(START, text)
        expected = {
            token
            for token, more in vocabulary.by_id.items()
            if grammar.follow(place, more) is not None
        }
        assert set(small.at(place).tolist()) == expected, text
        assert small.at(place) is small.at(place)


@pytest.mark.parametrize("seed", range(10))
def test_whatever_the_model_wants_boxes_parse(small, seed):
    text, guide = say(small, np.random.default_rng(seed))
    assert guide.is_done
    assert guide.has_overruled
    said = text.decode("utf-8", errors="replace")
    parsed = parse_boxes(said, height=HEIGHT, width=WIDTH)
    assert parsed.num_dropped == 0
    assert len(parsed.boxes) == said.count('"bbox_2d"')


def test_an_answer_that_fits_is_left_alone(small):
    wanted = b'[{"bbox_2d": [10, 20, 30, 40], "label": "stain"}, {"bbox_2d": [1, 2, 3, 4]}]'
    guide = BoxGuide(small)
    for place, letter in enumerate(wanted):
        assert not guide.is_done
        logits = np.zeros(300, dtype=np.float32)
        logits[letter] = 1
        assert guide.choose(logits) == letter, wanted[: place + 1]
    assert guide.is_done
    assert not guide.has_overruled


def test_a_label_comes_to_an_end(small):
    """A model that never closes its label is made to."""
    guide = BoxGuide(small)
    opening = b'[{"bbox_2d": [10, 20, 30, 40], "label": "'
    said = bytes(guide.choose(one_hot(letter)) for letter in opening)
    while not guide.is_done:
        logits = one_hot(ord("a"))
        logits[[ord("}"), ord("]")]] = 0.5
        said += small.vocabulary.by_id[guide.choose(logits)]
        assert len(said) < 200
    assert 90 <= said.count(b"a") <= 130
    json.loads(said)


def one_hot(token):
    logits = np.zeros(300, dtype=np.float32)
    logits[token] = 1
    return logits


def test_a_step_with_a_vocabulary_of_qwens_size(large):
    """The time of the guide alone, once every place has been met, beside the plain greedy rule."""
    for text in ("", "[{", '[{"bbox_2d": [1, 2, 3, 4], "label": "', "[]"):
        large.at(large.grammar.follow(START, text.encode()))
    rng = np.random.default_rng(9)
    rows = [rng.standard_normal(QWEN_SIZE, dtype=np.float32) for _ in range(4)]
    times = []
    guide = BoxGuide(large)
    for step in range(60):
        started = time.perf_counter()
        guide.choose(rows[step % 4])
        times.append((time.perf_counter() - started) * 1e3)
        if guide.is_done:
            guide = BoxGuide(large)
    assert np.median(times) < STEP_LIMIT_MS


def test_the_bytes_of_tokens(tmp_path):
    toy_tokenizer().save(str(tmp_path / "toy.json"))
    strings = TextTokenizer(tmp_path / "toy.json").byte_strings()
    assert strings is not None
    assert sorted(strings.values()) == [bytes([byte]) for byte in range(256)]
    tokenizer = toy_tokenizer()
    for token, text in strings.items():
        if text.isascii():
            assert tokenizer.decode([token]) == text.decode()
    assert set(strings) == set(range(256))  # special tokens have none


def test_a_vocabulary_of_no_bytes(tmp_path):
    tokenizer = Tokenizer(models.BPE(vocab={"▁a": 0, "b": 1}, merges=[]))
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.save(str(tmp_path / "words.json"))
    assert TextTokenizer(tmp_path / "words.json").byte_strings() is None
    assert not Vocabulary({0: b"ab", 1: b"a"}).has_bytes(b"ab")


@pytest.fixture
def inspector(toy_bundle):
    return Inspector(open_engine(open_bundle(toy_bundle.path), provider="cpu", num_threads=1))


def test_an_inspection_has_boxes_whatever_the_model_says(inspector, image_pair):
    free = inspector.inspect(*image_pair, task="locate", constrained=False)
    assert "answer_unparsed:locate" in free.notes
    assert not any("constrained" in note for note in free.notes)
    held = inspector.inspect(*image_pair, task="locate", max_new_tokens=400)
    assert "constrained:locate" in held.notes
    assert not any(note.startswith(("answer_", "boxes_")) for note in held.notes)
    parsed = parse_boxes(held.text["locate"], height=56, width=84)
    assert parsed.num_dropped == 0
    assert [defect.bbox_2d for defect in held.defects if defect.source == "text"] == [
        found.bbox_2d for found in parsed.boxes
    ]


def test_other_words_are_free(inspector, image_pair):
    tasks = ("classify", "describe")
    free, held = (
        inspector.inspect(*image_pair, task=tasks, ask="Where?", constrained=value).text
        for value in (False, True)
    )
    assert free == held


def test_a_bundle_without_bytes_says_so(inspector, image_pair, monkeypatch):
    monkeypatch.setattr(TextTokenizer, "byte_strings", lambda _: None)
    inspection = inspector.inspect(*image_pair, task="locate", max_new_tokens=5)
    assert "unconstrained:locate" in inspection.notes


def test_ids_beyond_the_logits_are_left_out(inspector, image_pair, monkeypatch):
    byte_strings = TextTokenizer.byte_strings
    monkeypatch.setattr(
        TextTokenizer, "byte_strings", lambda it: {**(byte_strings(it) or {}), 9999: b"["}
    )
    inspection = inspector.inspect(*image_pair, task="locate", max_new_tokens=400)
    assert "constrained:locate" in inspection.notes


class ThreeTokens:
    """A guide that wants the same token three times."""

    def __init__(self) -> None:
        self.num_chosen = 0

    @property
    def is_done(self) -> bool:
        return self.num_chosen == 3

    def choose(self, logits) -> int:
        self.num_chosen += 1
        return 7


def test_the_decoder_stops_when_the_guide_is_done(inspector, image_pair):
    inspector.inspect(*image_pair)
    dialogue = inspector.engine.dialogue
    steps = dialogue.answering("Where?", max_new_tokens=9, clock=StageClock(), guide=ThreeTokens())
    answer = drain(steps)
    assert (answer.ids, answer.is_complete) == ((7, 7, 7), True)
