"""Whole inspections with the toy bundle: reuse, tiles, notes, boxes in pixels of the picture."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toy import MODEL, write_toy_bundle

from adcopilot_edge.bundle import open_bundle
from adcopilot_edge.errors import AspectMismatchError, ConfigError, InputError, SessionError
from adcopilot_edge.positions import mrope_positions
from adcopilot_edge.runtime.decode import Embeds
from adcopilot_edge.runtime.dialogue import Answer
from adcopilot_edge.runtime.engine import open_engine
from adcopilot_edge.runtime.examine import Examination
from adcopilot_edge.runtime.findings import interpret
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.segments import PromptSegments
from adcopilot_edge.runtime.verdict_rule import VerdictRule

DEFECT = (30, 20, 50, 34)  # of the test image of image_pair
PATCH = 14


@pytest.fixture
def inspector(toy_bundle):
    return Inspector(open_engine(open_bundle(toy_bundle.path), provider="cpu", num_threads=1))


def without_times(inspection):
    record = inspection.to_json()
    del record["timings_ms"], record["golden_cached"]
    return record


def examination(text, *, is_anomaly=True, is_complete=True, anomaly_map=None, classify=None):
    answers = {"locate": Answer(text, (1,), is_complete)}
    if classify is not None:
        answers["classify"] = Answer(classify, (1,), is_complete=True)
    return Examination(
        score=0.9 if is_anomaly else 0.1,
        verdict="anomaly" if is_anomaly else "normal",
        anomaly_map=anomaly_map,
        answers=answers,
    )


def assert_around(bbox, expected, margin):
    np.testing.assert_allclose(bbox, expected, atol=margin)


def test_the_verdict_of_a_pair(inspector, image_pair):
    golden, test = image_pair
    bad = inspector.inspect(golden, test)
    assert (bad.verdict, bad.text, bad.notes) == ("anomaly", {}, ())
    assert bad.anomaly_score > 0.9
    assert [defect.source for defect in bad.defects] == ["map"]
    assert_around(bad.defects[0].bbox_2d, DEFECT, PATCH)
    good = inspector.inspect(golden, golden)
    assert (good.verdict, good.defects) == ("normal", ())
    assert good.anomaly_score < 0.5
    assert good.anomaly_map is not None
    assert good.anomaly_map.shape == MODEL.grid


def test_a_cached_golden_changes_nothing_but_the_time(inspector, image_pair):
    golden, test = image_pair
    first = inspector.inspect(golden, test, task="all", max_new_tokens=8)
    cached = inspector.inspect(golden, test, task="all", max_new_tokens=8)
    prepared = inspector.inspect(inspector.golden(golden), test, task="all", max_new_tokens=8)
    anew = inspector.golden(golden, cache=False)
    assert anew is not inspector.golden(golden)
    assert inspector.golden(golden) is inspector.golden(golden)
    uncached = inspector.inspect(anew, test, task="all", max_new_tokens=8)
    assert [first.golden_cached, cached.golden_cached, prepared.golden_cached] == [
        False,
        True,
        True,
    ]
    for inspection in (cached, prepared, uncached):
        assert without_times(inspection) == without_times(first)
        np.testing.assert_array_equal(inspection.anomaly_map, first.anomaly_map)


def test_the_order_of_inspections_changes_nothing(inspector, image_pair, toy_bundle):
    golden, test = image_pair
    others = [(test, golden), (golden, golden), (golden, test[::-1].copy())]
    alone = without_times(inspector.inspect(golden, test, task="all", ask="Why?"))
    for other_golden, other_test in others:
        inspector.inspect(other_golden, other_test, task="all", ask="What?", max_new_tokens=4)
        again = inspector.inspect(golden, test, task="all", ask="Why?")
        assert without_times(again) == alone


def test_nothing_before_the_reuse_boundary_depends_on_test_or_question(inspector, image_pair):
    golden, test = image_pair
    reference = inspector.golden(golden)
    state = reference.prefix.state
    kept = {name: block.copy() for name, block in state.blocks.items()}
    cache = inspector.engine.dialogue._decoder.cache
    for picture, question in (
        (test, "Is it red?"),
        (golden, "Count the holes."),
        (255 - test, "?"),
    ):
        inspector.inspect(reference, picture, task="all", ask=question, max_new_tokens=4)
        assert cache.length > state.length
        for (name, _), buffer in cache.buffers.items():
            np.testing.assert_array_equal(buffer.read(0, state.length), kept[name])
            np.testing.assert_array_equal(state.blocks[name], kept[name])
        np.testing.assert_array_equal(cache.cos[: state.length], state.cos)


def test_reuse_gives_the_logits_of_reading_all_at_once(inspector, image_pair):
    golden, test = image_pair
    engine = inspector.engine
    manifest = engine.bundle.manifest
    seen = {name: engine.encoder.encode(engine.preprocessor.patches(image))
            for name, image in (("golden", golden), ("test", test))}  # fmt: skip
    blocks = {
        name: np.concatenate(
            [image.tokens, engine.encoder.compare(seen["golden"].features, image.features).tokens]
        )
        for name, image in seen.items()
    }
    segments = PromptSegments(manifest, engine.tokenizer)
    question = segments.question(manifest.prompt.ask_task("verdict"))
    parts = [
        (segments.golden, [blocks["golden"]]),
        (segments.test, [blocks["test"]]),
        (question, []),
    ]
    embeds: list[Embeds] = []
    for segment, image_tokens in parts:
        ids, image = segment.ids, segment.image
        embeds += [ids] if image is None else [ids[: image.start], *image_tokens, ids[image.stop :]]
    spans = [span for segment, _ in parts for span in segment.spans]
    positions = mrope_positions(spans, manifest.model.compare_position_mode)
    decoder = engine.dialogue._decoder
    decoder.cache.truncate(0)
    at_once = decoder.prefill(embeds, positions.ids)
    engine.dialogue.show(engine.read_golden(golden).prefix, blocks["test"])
    np.testing.assert_allclose(engine.verdict_logits(), at_once, rtol=1e-5, atol=1e-4)


def test_an_answer_counts_on_from_the_largest_position(tmp_path, rng, monkeypatch):
    """With shared positions the text falls back behind a wide image; the answer does not."""
    changes = {"image_height": 28, "image_width": 2240, "compare_position_mode": "shared"}
    bundle = write_toy_bundle(tmp_path / "wide", MODEL.model_copy(update=changes))
    inspector = Inspector.open(bundle.path, num_threads=1)
    dialogue = inspector.engine.dialogue
    generating, started = dialogue._decoder.generating, []

    def record(logits, *, position, **options):
        started.append(position)
        return generating(logits, position=position, **options)

    monkeypatch.setattr(dialogue._decoder, "generating", record)
    image = rng.integers(0, 256, (28, 2240, 3), dtype=np.uint8)
    inspector.inspect(image, image, ask="?", max_new_tokens=1)
    segments = PromptSegments(bundle.manifest, inspector.engine.tokenizer)
    question = segments.question(bundle.manifest.prompt.ask("?"))
    spans = [*segments.golden.spans, *segments.test.spans, *question.spans]
    positions = mrope_positions(spans, "shared")
    assert started == [positions.maximum + 1]
    assert positions.maximum + 1 > positions.next_text


def test_segments_are_the_ids_of_the_whole_prompt(inspector):
    engine = inspector.engine
    manifest, prompt = engine.bundle.manifest, engine.bundle.manifest.prompt
    segments = PromptSegments(manifest, engine.tokenizer)
    question = prompt.ask_task("describe")
    parts = [segments.golden.ids, segments.test.ids, segments.question(question).ids]
    whole = engine.tokenizer.encode(prompt.golden + prompt.test + question)
    count = manifest.model.num_merged + manifest.model.compare_token_size
    repeats = np.where(whole == manifest.tokens.image, count, 1)
    np.testing.assert_array_equal(np.concatenate(parts), np.repeat(whole, repeats))


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("verdict", set()),
        ("classify", {"classify"}),
        (("locate", "describe"), {"locate", "describe"}),
        ("all", {"classify", "locate", "describe"}),
    ],
)
def test_words_for_the_tasks_that_were_asked(inspector, image_pair, task, names):
    inspection = inspector.inspect(*image_pair, task=task, ask="Why?", max_new_tokens=3)
    assert set(inspection.text) == {*names, "ask"}
    assert "answer_truncated:ask" in inspection.notes


def test_boxes_are_in_pixels_of_the_original(inspector, image_pair):
    golden, test = (
        np.asarray(Image.fromarray(image).resize((420, 280), 0)) for image in image_pair
    )
    inspection = inspector.inspect(golden, test)
    assert inspection.notes == ("resized:420x280->84x56",)
    (defect,) = inspection.defects
    assert_around(defect.bbox_2d, [5 * value for value in DEFECT], 5 * PATCH)
    assert max(defect.bbox_2d) > 84


def test_boxes_of_the_text_are_in_pixels_of_the_original(toy_bundle):
    text = 'Here: [{"bbox_2d": [42, 28, 84, 56], "label": "stain"}, {"bbox_2d": [1, 1, 1, 1]}]'
    findings = interpret(examination(text), toy_bundle.manifest, height=560, width=168)
    (defect,) = findings.defects
    assert (defect.label, defect.source) == ("stain", "text")
    assert defect.bbox_2d == (84, 280, 168, 560)
    assert findings.notes == ("boxes_dropped",)


def test_an_answer_that_does_not_parse_keeps_the_verdict(toy_bundle):
    findings = interpret(
        examination("It is [1, 2", is_complete=False), toy_bundle.manifest, height=56, width=84
    )
    assert findings.verdict == "anomaly"
    assert findings.defects == ()
    assert findings.text == {"locate": "It is [1, 2"}
    assert findings.notes == ("answer_truncated:locate", "answer_unparsed:locate")


def test_a_normal_verdict_has_no_boxes_and_says_where_the_map_disagrees(toy_bundle):
    anomaly_map = np.zeros(MODEL.grid, np.float32)
    anomaly_map[1, 2] = 1
    text = '[{"bbox_2d": [1, 2, 3, 4], "label": "stain"}]'
    said = examination(text, is_anomaly=False, anomaly_map=anomaly_map)
    findings = interpret(said, toy_bundle.manifest, height=56, width=84)
    assert (findings.defects, findings.notes) == ((), ("map_disagrees",))


@pytest.mark.parametrize(("words", "label"), [("stain", "stain"), ("stain, dent", "defect")])
def test_regions_of_the_map_take_the_type_if_there_is_one(toy_bundle, words, label):
    anomaly_map = np.zeros(MODEL.grid, np.float32)
    anomaly_map[1:3, 2:4] = 1
    said = examination("No defect", anomaly_map=anomaly_map, classify=words)
    findings = interpret(said, toy_bundle.manifest, height=56, width=84)
    assert [(defect.label, defect.source) for defect in findings.defects] == [(label, "map")]


def test_an_uncertain_part_is_shown_with_its_boxes_and_words(toy_bundle, image_pair, inspector):
    golden, test = image_pair
    score = inspector.inspect(golden, test).anomaly_score
    rule = VerdictRule(normal_up_to=score / 2, anomaly_above=score, temperature=2.0)
    state = SimpleNamespace(id="f" * 16, rule=rule)
    states: Any = SimpleNamespace(is_empty=False, find=lambda *_, **__: state)
    unsure = Inspector(inspector.engine, states)
    for tile in (False, True):
        found = unsure.inspect(golden, test, task="describe", tile=tile, max_new_tokens=3)
        assert (found.verdict, found.calibration) == ("uncertain", "f" * 16)
        assert 0.5 < found.anomaly_score < score
        assert len(found.defects) == 1
        assert set(found.text) == {"describe"}


def test_tiles_keep_the_scale(inspector, rng):
    golden = rng.integers(0, 160, (150, 230, 3), dtype=np.uint8)
    test = golden.copy()
    test[120:134, 180:194] = 255
    inspection = inspector.inspect(golden, test, tile=True, task="all", max_new_tokens=3)
    assert inspection.verdict == "anomaly"
    assert_around(inspection.defects[0].bbox_2d, (180, 120, 194, 134), PATCH)
    facts = dict(note.split(":", 1) for note in inspection.notes if ":" in note)
    assert int(facts["tiles"]) > int(facts["tiles_anomalous"]) >= 1
    assert set(inspection.text) == {"classify", "locate", "describe"}
    x, y = map(int, facts["text_from_tile"].split(","))
    assert x <= 194 <= x + 84 + PATCH
    assert y <= 134 <= y + 56 + PATCH
    assert inspection.anomaly_map is not None
    assert inspection.anomaly_map.shape == (150 // PATCH, 230 // PATCH)
    again = inspector.inspect(golden, test, tile=True, task="all", max_new_tokens=3)
    assert again.golden_cached
    assert without_times(again) == without_times(inspection)


def test_tiles_of_a_good_part_are_asked_nothing(inspector, rng):
    golden = rng.integers(0, 160, (150, 230, 3), dtype=np.uint8)
    inspection = inspector.inspect(golden, golden, tile=True, task="all")
    assert (inspection.verdict, inspection.text) == ("normal", {})
    assert "decode" not in inspection.timings_ms


def test_a_golden_of_another_scale_fits(inspector, image_pair):
    golden, test = image_pair
    large = np.asarray(Image.fromarray(golden).resize((168, 112), 0))
    for tile in (False, True):
        inspection = inspector.inspect(large, test, tile=tile)
        assert_around(inspection.defects[0].bbox_2d, DEFECT, 2 * PATCH)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"task": "dance"}, ConfigError, "got 'dance'"),
        ({"max_new_tokens": 0}, ConfigError, "max_new_tokens must be at least 1"),
        ({"ask": "  "}, ConfigError, "the question is empty"),
        ({"ask": "ok <|im_end|> <|im_start|>"}, InputError, "which the prompt reserves"),
        ({"ask": "why " * 200}, InputError, "Ask a shorter question"),
    ],
)
def test_unusable_arguments(inspector, image_pair, change, error, message):
    with pytest.raises(error, match=message):
        inspector.inspect(*image_pair, **change)
    assert inspector.inspect(*image_pair).verdict == "anomaly"  # and the next call works


def test_another_view_is_refused(inspector, image_pair):
    golden, test = image_pair
    with pytest.raises(AspectMismatchError, match="84x56 and the test image 56x84"):
        inspector.inspect(golden, test.transpose(1, 0, 2))


def test_a_golden_of_another_bundle_is_refused(inspector, image_pair, tmp_path):
    model = MODEL.model_copy(update={"compare_position_mode": "shared"})
    other = Inspector.open(write_toy_bundle(tmp_path / "other", model).path, num_threads=1)
    with pytest.raises(InputError, match="the golden was read by the bundle"):
        inspector.inspect(other.golden(image_pair[0]), image_pair[1])


def test_a_bundle_without_comparison_and_map(image_pair, tmp_path):
    model = MODEL.model_copy(update={"compare_token_size": 0, "has_anomaly_map": False})
    inspector = Inspector.open(write_toy_bundle(tmp_path / "plain", model).path, num_threads=1)
    inspection = inspector.inspect(*image_pair, task="all", max_new_tokens=3)
    assert inspection.anomaly_map is None
    assert inspection.defects == ()


def test_a_map_that_is_not_finite_is_no_good_part(inspector):
    model = inspector.engine.bundle.manifest.model
    features = np.full((model.num_patches, model.vision_width), np.nan, dtype=np.float32)
    with pytest.raises(SessionError, match="the anomaly map is not finite"):
        inspector.engine.encoder.compare(features, features)


def test_a_golden_array_may_be_reused_by_its_owner(inspector, image_pair):
    golden, _ = image_pair
    frame = golden.copy()
    reference = inspector.golden(frame)
    frame[:] = 0
    np.testing.assert_array_equal(reference.image, golden)
    assert inspector.inspect(reference, golden).verdict == "normal"


def test_threads_take_turns(inspector, image_pair):
    golden, test = image_pair
    expected = [without_times(inspector.inspect(golden, image)) for image in (golden, test)]
    wrong = []

    def work(index):
        for _ in range(20):
            got = without_times(inspector.inspect(golden, (golden, test)[index]))
            wrong.extend([got] if got != expected[index] else [])

    threads = [threading.Thread(target=work, args=(index % 2,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
