"""Parts one behind the other, each prepared ahead: the same results, and nothing read too far."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adcopilot_edge.errors import (
    AspectMismatchError,
    ConfigError,
    ImageDecodeError,
    ImageNotFoundError,
    SessionError,
)
from adcopilot_edge.runtime.ahead import one_ahead
from adcopilot_edge.runtime.cascade import Cascade
from adcopilot_edge.runtime.golden_set import GoldenSet
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.part_image import PartImage
from adcopilot_edge.runtime.timing import StageClock
from adcopilot_edge.types import PartResult

WAIT_S = 10


def without_times(inspection):
    record = inspection.to_json()
    del record["timings_ms"], record["golden_cached"]
    return record


def ahead_threads():
    return [thread for thread in threading.enumerate() if thread.name == "ahead"]


def wait_until(condition):
    """Give another thread the time that it needs."""
    end = time.monotonic() + WAIT_S
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)
    assert condition()


@pytest.fixture
def parts(image_pair, tmp_path):
    """Test images of every kind: an array, a file, a Pillow image, and another size."""
    golden, test = image_pair
    path = tmp_path / "test.png"
    Image.fromarray(test).save(path)
    turned = test[::-1].copy()
    large = np.asarray(Image.fromarray(test).resize((420, 280), 0))
    return [golden, path, Image.fromarray(turned), large, path.read_bytes()]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"task": "all", "ask": "Why?", "max_new_tokens": 6},
        {"tile": True, "task": "all", "max_new_tokens": 3},
        {"cascade": Cascade(threshold=0.4, audit_share=0.5)},
    ],
    ids=["verdict", "words", "tiles", "cascade"],
)
def test_results_are_those_of_one_by_one(toy_inspector, image_pair, parts, settings):
    golden = image_pair[0]
    expected = [toy_inspector.inspect(golden, test, **settings) for test in parts]
    found = list(toy_inspector.inspect_many(golden, iter(parts), **settings))
    assert [part.index for part in found] == [*range(len(parts))]
    for part, one in zip(found, expected, strict=True):
        assert part.error is None
        assert without_times(part.inspection) == without_times(one)
        assert part.inspection.anomaly_score == one.anomaly_score
        np.testing.assert_array_equal(part.inspection.anomaly_map, one.anomaly_map)
    assert {part.inspection.verdict for part in found} == {"normal", "anomaly"}
    assert ahead_threads() == []


def test_a_set_takes_its_nearest(toy_inspector, image_pair, parts):
    golden, test = image_pair
    references = (toy_inspector.golden(test), toy_inspector.golden(golden))
    nearest = GoldenSet(references)
    expected = [without_times(toy_inspector.inspect(nearest, one)) for one in parts]
    found = toy_inspector.inspect_many(nearest, parts)
    assert [without_times(part.inspection) for part in found] == expected
    with pytest.raises(ConfigError, match="votes are not prepared ahead"):
        toy_inspector.inspect_many(GoldenSet(references, choose="vote"), parts)


def test_an_unusable_image_is_told_in_its_place(toy_inspector, image_pair, tmp_path):
    golden, test = image_pair
    Image.fromarray(test).save(tmp_path / "cut.png")
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    turned_test = test.transpose(1, 0, 2)
    with Image.open(tmp_path / "cut.png") as cut_image:  # its pixels are read later
        tests = [test, tmp_path / "nowhere.png", cut_image, turned_test, golden]
        first, missing, broken, turned, last = toy_inspector.inspect_many(golden, tests)
    assert (first.inspection.verdict, last.inspection.verdict) == ("anomaly", "normal")
    assert [type(part.error) for part in (missing, broken, turned)] == [
        ImageNotFoundError,
        ImageDecodeError,
        AspectMismatchError,
    ]
    assert missing.index == 1
    assert missing.inspection is None
    assert missing.to_json()["error"]["kind"] == "ImageNotFoundError"
    assert "nowhere.png" in missing.to_json()["error"]["message"]
    assert last.to_json() == last.inspection.to_json()


def test_a_result_is_an_inspection_or_an_error():
    with pytest.raises(ConfigError, match="either an inspection or an error"):
        PartResult(index=0)


def test_a_camera_is_read_one_image_ahead_and_no_further(toy_inspector, image_pair):
    golden, test = image_pair
    given: list[int] = []

    def camera():
        while True:
            given.append(len(given))
            yield test

    parts = toy_inspector.inspect_many(golden, camera())
    assert given == []
    for turn in range(1, 4):
        next(parts)
        wait_until(lambda expected=turn + 1: len(given) >= expected)
        time.sleep(0.02)
        assert len(given) == turn + 1
    parts.close()
    assert len(given) == 4
    assert ahead_threads() == []


@pytest.mark.parametrize("is_pillow", [False, True], ids=["array", "Pillow"])
def test_a_frame_buffer_may_be_reused(toy_inspector, image_pair, is_pillow):
    golden, test = image_pair
    frame, raster = np.empty_like(golden), Image.fromarray(golden)

    def camera():
        for image in (golden, test, golden, test):
            frame[:] = image
            raster.paste(Image.fromarray(image))
            yield raster if is_pillow else frame

    for settings in ({}, {"tile": True}, {"cascade": Cascade(threshold=0.4, audit_share=0)}):
        found = toy_inspector.inspect_many(golden, camera(), **settings)
        verdicts = [part.inspection.verdict for part in found]
        assert verdicts == ["normal", "anomaly", "normal", "anomaly"]


def test_what_the_camera_raises_comes_behind_the_parts_before(toy_inspector, image_pair):
    golden, test = image_pair

    def camera():
        yield test
        raise RuntimeError("cable")

    parts = toy_inspector.inspect_many(golden, camera())
    assert next(parts).inspection.verdict == "anomaly"
    with pytest.raises(RuntimeError, match="cable"):
        next(parts)
    assert ahead_threads() == []


def test_a_failing_graph_and_an_interrupt_end_the_thread(toy_inspector, image_pair, monkeypatch):
    golden, test = image_pair
    for error in (SessionError("lost"), KeyboardInterrupt()):
        parts = toy_inspector.inspect_many(golden, [test] * 3)
        next(parts)
        with monkeypatch.context() as patch:

            def fail(*_: object, error: BaseException = error) -> None:
                raise error

            patch.setattr(toy_inspector.engine.encoder, "compare", fail)
            with pytest.raises(type(error)):
                next(parts)
        assert ahead_threads() == []
    assert toy_inspector.inspect(golden, test).verdict == "anomaly"


def test_a_camera_that_waits_does_not_keep_its_reader(monkeypatch):
    monkeypatch.setattr("adcopilot_edge.runtime.ahead._STOP_S", 0.01)
    is_released = threading.Event()

    def camera():
        yield 1
        is_released.wait(WAIT_S)
        yield 2

    made: list[int] = []
    prepared: list[int] = []

    def make(source):
        made.append(source)
        return source

    parts = one_ahead(camera(), make, prepared.append)
    assert next(parts) == 1
    parts.close()
    is_released.set()
    wait_until(lambda: not ahead_threads())
    assert (made, prepared) == ([1], [1])


def test_other_threads_get_their_turn_between_parts(toy_inspector, image_pair):
    golden, test = image_pair
    parts = toy_inspector.inspect_many(golden, [test, test])
    next(parts)
    got: list[Any] = []
    other = threading.Thread(target=lambda: got.append(toy_inspector.inspect(golden, test)))
    other.start()
    other.join(WAIT_S)
    assert len(got) == 1
    assert next(parts).inspection.verdict == "anomaly"
    parts.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tests": "part.png"}, "got one str"),
        ({"tests": np.zeros((56, 84, 3), np.uint8)}, "got one ndarray"),
        ({"takt_ms": 0}, "takt_ms must be a positive number"),
        ({"takt_ms": 9, "tile": True}, "tiles and votes have no takt"),
        ({"task": "dance"}, "got 'dance'"),
    ],
)
def test_arguments_are_checked_before_anything_is_read(toy_inspector, image_pair, change, message):
    with pytest.raises(ConfigError, match=message):
        toy_inspector.inspect_many(image_pair[0], **{"tests": [], **change})


def test_an_unusable_golden_is_told_at_once(toy_inspector, tmp_path):
    with pytest.raises(ImageNotFoundError, match="there is no file"):
        toy_inspector.inspect_many(tmp_path / "golden.png", [])


def test_what_is_wrong_with_a_pack_is_a_note_of_the_first_part(toy_bundle, image_pair, tmp_path):
    golden, test = image_pair
    opened = Inspector.open(toy_bundle.path, num_threads=1, packs=tmp_path)
    path = opened.add_golden(golden).path
    path.write_bytes(path.read_bytes()[:-1])
    again = Inspector.open(toy_bundle.path, num_threads=1, packs=tmp_path)
    found = [part.inspection for part in again.inspect_many(golden, [test, test])]
    assert [one.notes for one in found if one] == [("golden_pack_damaged",), ()]


@pytest.mark.parametrize(
    ("prepared_at", "turn_at", "ready_at", "ahead"),
    [(40, 100, 100, 30), (130, 110, 130, 10), (150, 100, 160, 0)],
    ids=["ready before", "in part", "all in its turn"],
)
def test_the_clock_tells_what_was_done_ahead(monkeypatch, prepared_at, turn_at, ready_at, ahead):
    now = SimpleNamespace(ms=prepared_at - 30)
    monkeypatch.setattr("time.perf_counter_ns", lambda: int(now.ms * 1e6))
    clock = StageClock()
    with clock.stage("decode_image"):
        now.ms = prepared_at
    now.ms = ready_at
    clock.count_from(int(turn_at * 1e6))
    with clock.stage("vision"):
        now.ms += 50
    times = clock.timings_ms()
    assert times.get("ahead", 0) == ahead
    assert (times["decode_image"], times["vision"]) == (30, 50)
    assert times["total"] == ready_at + 50 - turn_at


def test_times_of_a_part_prepared_ahead(toy_inspector, image_pair, monkeypatch):
    golden, test = image_pair
    prepare, prepared = PartImage.prepare, []

    def note(part, *, is_whole):
        prepare(part, is_whole=is_whole)
        prepared.append(part)

    monkeypatch.setattr(PartImage, "prepare", note)
    assert "ahead" not in toy_inspector.inspect(golden, test).timings_ms
    parts = toy_inspector.inspect_many(golden, [test, test], takt_ms=60_000)
    next(parts)
    wait_until(lambda: len(prepared) == 2)
    second = next(parts).inspection
    assert second.takt_overrun_ms == 0
    times = second.timings_ms
    stages = {name: ms for name, ms in times.items() if name not in ("ahead", "total")}
    assert 0 < times["ahead"] <= sum(stages.values())
    assert sum(stages.values()) - times["ahead"] <= times["total"]


def test_an_image_that_nobody_prepares_is_not_waited_for(toy_inspector, image_pair):
    part = PartImage(image_pair[1], toy_inspector.engine.preprocessor)
    assert part.take_turn().timings_ms().keys() == {"total"}
