"""What an inspection tells while it runs, and that a stream that is left behind does no harm."""

from __future__ import annotations

import threading

import pytest
from toy import toy_tokenizer

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.errors import ConfigError, InferenceError
from adcopilot_edge.runtime.engine import open_engine
from adcopilot_edge.runtime.golden_set import GoldenSet
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.pieces import TextPieces
from adcopilot_edge.runtime.stream import AnswerEvent, InspectionEvent, TextEvent, VerdictEvent
from adcopilot_edge.runtime.tokenizer import TextTokenizer
from adcopilot_edge.runtime.turns import Turns

WORDS = 12


@pytest.fixture
def inspector(toy_bundle):
    return Inspector(open_engine(open_bundle(toy_bundle.path), provider="cpu", num_threads=1))


def without_times(inspection):
    record = inspection.to_json()
    del record["timings_ms"], record["golden_cached"]
    return record


def test_verdict_then_words_then_the_result(inspector, image_pair):
    events = list(inspector.stream(*image_pair, ask="Why?", max_new_tokens=WORDS))
    expected = inspector.inspect(*image_pair, task="all", ask="Why?", max_new_tokens=WORDS)
    first, *between, last = events
    assert isinstance(last, InspectionEvent)
    assert without_times(last.inspection) == without_times(expected)
    assert first == VerdictEvent(verdict=expected.verdict, anomaly_score=expected.anomaly_score)
    names = [event.name for event in between if isinstance(event, AnswerEvent)]
    assert names == ["classify", "locate", "describe", "ask"]
    pieces: dict[str, str] = dict.fromkeys(names, "")
    for event in between:
        if isinstance(event, TextEvent):
            assert event.piece
            pieces[event.name] += event.piece
        else:
            assert isinstance(event, AnswerEvent)
            assert pieces[event.name] == event.text == expected.text[event.name]
            assert event.is_complete == (f"answer_truncated:{event.name}" not in expected.notes)
    assert sum(isinstance(event, TextEvent) for event in between) > len(names)


def test_a_verdict_alone(inspector, image_pair):
    events = list(inspector.stream(*image_pair, task="verdict"))
    assert [type(event) for event in events] == [VerdictEvent, InspectionEvent]


@pytest.mark.parametrize("num_read", [0, 1, 2, 3, 9])
def test_a_stream_that_is_closed_midway_leaves_no_trace(inspector, image_pair, num_read):
    alone = without_times(inspector.inspect(*image_pair, task="all", max_new_tokens=WORDS))
    golden, test = image_pair
    stream = inspector.stream(golden, test[::-1].copy(), max_new_tokens=WORDS)
    for _ in range(num_read):
        next(stream)
    stream.close()
    again = inspector.inspect(*image_pair, task="all", max_new_tokens=WORDS)
    assert without_times(again) == alone


def test_closing_steps_back_behind_the_image(inspector, image_pair):
    inspector.inspect(*image_pair)
    cache = inspector.engine.dialogue._decoder.cache
    length = cache.length
    stream = inspector.stream(*image_pair, task="describe", max_new_tokens=WORDS)
    while not isinstance(next(stream), TextEvent):
        pass
    assert cache.length > length
    stream.close()
    assert cache.length == length


def test_the_thread_of_an_open_stream_is_told(inspector, image_pair):
    stream = inspector.stream(*image_pair, max_new_tokens=WORDS)
    next(stream)
    with pytest.raises(InferenceError, match="a stream of this inspector is still open"):
        inspector.inspect(*image_pair)
    other = inspector.stream(*image_pair)
    with pytest.raises(InferenceError, match="still open"):
        next(other)
    rest = list(stream)  # and the stream goes on
    assert isinstance(rest[-1], InspectionEvent)
    assert inspector.inspect(*image_pair).verdict == "anomaly"


def test_another_thread_waits(inspector, image_pair):
    expected = without_times(inspector.inspect(*image_pair))
    stream = inspector.stream(*image_pair, max_new_tokens=WORDS)
    next(stream)
    got = []
    thread = threading.Thread(target=lambda: got.append(inspector.inspect(*image_pair)))
    thread.start()
    thread.join(timeout=0.1)
    assert thread.is_alive()
    assert got == []
    for _ in stream:
        pass
    thread.join(timeout=60)
    assert [without_times(inspection) for inspection in got] == [expected]


def test_another_thread_may_close_a_stream(inspector, image_pair):
    stream = inspector.stream(*image_pair, max_new_tokens=WORDS)
    next(stream)
    thread = threading.Thread(target=stream.close)
    thread.start()
    thread.join()
    assert inspector.inspect(*image_pair).verdict == "anomaly"


def test_arguments_are_checked_before_the_first_event(inspector, image_pair):
    with pytest.raises(ConfigError, match="task must be of"):
        inspector.stream(*image_pair, task="dance")
    with pytest.raises(ConfigError, match="takt_ms must be a positive number"):
        inspector.stream(*image_pair, takt_ms=0)


def test_a_set_streams_its_nearest_and_no_votes(inspector, image_pair):
    golden, test = image_pair
    references = (inspector.golden(test), inspector.golden(golden))
    nearest = GoldenSet(references)
    *_, last = inspector.stream(nearest, golden, task="verdict")
    assert isinstance(last, InspectionEvent)
    assert without_times(last.inspection) == without_times(inspector.inspect(nearest, golden))
    voting = GoldenSet(references, choose="vote")
    with pytest.raises(ConfigError, match="votes can't be streamed"):
        inspector.stream(voting, golden)
    with pytest.raises(ConfigError, match="tiles and votes have no takt"):
        inspector.inspect(voting, golden, takt_ms=100)


def test_a_failing_block_gives_its_turn_back():
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns:
        raise ZeroDivisionError
    with turns, pytest.raises(InferenceError), turns:
        pass
    with turns:
        pass


@pytest.mark.parametrize(
    "text", ["a stain", "  two  words \n", "größer 傷 ok", "傷", "", " ", "half \ufffd of it"]
)
def test_pieces_joined_are_the_text(tmp_path, text):
    """One token a byte: every letter beyond ASCII comes in halves."""
    toy_tokenizer().save(str(tmp_path / "toy.json"))
    tokenizer = TextTokenizer(tmp_path / "toy.json")
    ids = tokenizer.encode(text).tolist()
    for stop in range(len(ids) + 1):  # also cut within a letter
        pieces = TextPieces(tokenizer)
        said = [pieces.add(token) for token in ids[:stop]]
        assert "".join([*said, pieces.rest()]) == tokenizer.decode(ids[:stop])
        assert not any(piece.endswith("\ufffd") for piece in said)
