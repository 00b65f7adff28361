"""The test image is read once: the verdict and every question branch from the state behind it."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

from adcopilot_edge.errors import InputError

WORDS = 5  # tokens of each answer


@pytest.fixture
def inspector(toy_inspector):
    return toy_inspector


def lengths_of(inspector):
    """Tokens of the golden's part, of the test image's part, and of each question."""
    dialogue = inspector.engine.dialogue
    segments, tasks = dialogue._segments, inspector.engine.bundle.manifest.prompt.tasks
    questions = {name: len(dialogue._question(words).ids) for name, words in tasks.items()}
    return len(segments.golden.ids), len(segments.test.ids), questions


def test_a_verdict_feeds_the_image_and_its_question_alone(inspector, image_pair, fed):
    golden = inspector.golden(image_pair[0])
    read, image, questions = lengths_of(inspector)
    assert fed == [read]
    fed.clear()
    inspector.inspect(golden, image_pair[1])
    assert fed == [image, questions["verdict"]]


def test_all_tasks_feed_the_image_once(inspector, image_pair, fed):
    golden = inspector.golden(image_pair[0])
    _, image, questions = lengths_of(inspector)
    own = len(inspector.engine.dialogue._question("Why?").ids)
    fed.clear()
    inspector.inspect(
        golden, image_pair[1], task="all", ask="Why?", max_new_tokens=WORDS, constrained=False
    )
    words = [1] * (WORDS - 1)  # the last one is not fed
    assert fed == [
        image,
        questions["verdict"],
        *(questions["classify"], *words),
        *(questions["locate"], *words),
        *(questions["describe"], *words),
        *(own, *words),
    ]
    assert fed.count(image) == 1


def test_the_next_part_feeds_no_golden(inspector, image_pair, fed):
    golden = inspector.golden(image_pair[0])
    fed.clear()
    for picture in (image_pair[1], image_pair[0], image_pair[1]):
        inspector.inspect(golden, picture)
    _, image, questions = lengths_of(inspector)
    assert fed == 3 * [image, questions["verdict"]]


def test_each_branch_starts_behind_the_image(inspector, image_pair):
    """An answer beside others is the answer alone, and the state afterwards that of before."""
    together = inspector.inspect(*image_pair, task="all", ask="Why?", max_new_tokens=WORDS)
    for name in ("classify", "locate", "describe"):
        alone = inspector.inspect(*image_pair, task=name, max_new_tokens=WORDS)
        assert alone.text[name] == together.text[name]
    cache = inspector.engine.dialogue._decoder.cache
    read, image, _ = lengths_of(inspector)
    assert cache.length == read + image


def test_keys_behind_the_image_are_those_of_no_question(inspector, image_pair):
    cache = inspector.engine.dialogue._decoder.cache
    inspector.inspect(*image_pair)
    length = cache.length
    before = {name: buffer.read(0, length) for (name, _), buffer in cache.buffers.items()}
    inspector.inspect(*image_pair, task="all", ask="Why?", max_new_tokens=WORDS)
    assert cache.length == length
    for (name, _), buffer in cache.buffers.items():
        np.testing.assert_array_equal(buffer.read(0, length), before[name])


def test_a_branch_that_fails_steps_back(inspector, image_pair):
    inspector.inspect(*image_pair)
    cache = inspector.engine.dialogue._decoder.cache
    length = cache.length
    with pytest.raises(InputError, match="Ask a shorter question"):
        inspector.engine.dialogue.first_logits("why " * 200)
    assert cache.length == length


def test_inspections_leave_nothing_in_memory(inspector, image_pair):
    golden = inspector.golden(image_pair[0])

    def inspect(count):
        for _ in range(count):
            inspector.inspect(golden, image_pair[1], task="all", ask="Why?", max_new_tokens=WORDS)

    tracemalloc.start()
    try:
        inspect(3)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        inspect(60)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 60 << 10, "one copy of the logits of each inspection is more than 60 KiB"
