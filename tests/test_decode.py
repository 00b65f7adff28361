"""The decoder loop: reading in parts is reading at once, and a cache changes no answer."""

from __future__ import annotations

import tracemalloc
from itertools import islice

import numpy as np
import pytest
from toy import write_toy_bundle

from adcopilot_edge.errors import InputError, SessionError
from adcopilot_edge.manifest import ModelSpec
from adcopilot_edge.positions import TextSpan, mrope_positions, rotary_tables
from adcopilot_edge.runtime.decode import Decoder
from adcopilot_edge.runtime.device_array import DeviceArray
from adcopilot_edge.runtime.embedding import EmbeddingTable
from adcopilot_edge.runtime.session import GraphSession

# Sums of a few dozen float32 products in another order.
RELATIVE, ABSOLUTE = 1e-5, 1e-4


def open_decoder(bundle):
    model = bundle.manifest.model
    embedding = EmbeddingTable(bundle.file("embedding.npy"), (model.vocab_size, model.hidden_size))
    decoder = Decoder(bundle.file("decoder.onnx"), model, embedding, provider="cpu", num_threads=1)
    return decoder, embedding


@pytest.fixture
def decoder(toy_bundle):
    return open_decoder(toy_bundle)[0]


@pytest.fixture
def prompt(toy_bundle, rng):
    """Embeddings (40, D) and position ids (3, 40) of forty tokens."""
    embeds = rng.normal(size=(40, toy_bundle.manifest.model.hidden_size)).astype(np.float32)
    return embeds, text_positions(40)


def rows_of(embedding, ids):
    """The embeddings (T, 32) of ``ids``."""
    rows = np.empty((len(ids), 32), dtype=np.float32)
    embedding.rows_into(ids, rows)
    return rows


def text_positions(length, start=0):
    return mrope_positions([TextSpan(length)], "shared").ids + start


@pytest.mark.parametrize("cuts", [[20], [1], [39], [10, 11, 30], list(range(1, 40))])
def test_reading_in_parts_is_reading_at_once(decoder, prompt, cuts):
    embeds, ids = prompt
    whole = decoder.prefill(embeds, ids)
    keys = {name: buffer.read(0, 40) for (name, _), buffer in decoder.cache.buffers.items()}
    decoder.cache.truncate(0)
    for start, stop in zip([0, *cuts], [*cuts, 40], strict=True):
        logits = decoder.prefill(embeds[start:stop], ids[:, start:stop])
    np.testing.assert_allclose(logits, whole, rtol=RELATIVE, atol=ABSOLUTE)
    for (name, _), buffer in decoder.cache.buffers.items():
        np.testing.assert_allclose(buffer.read(0, 40), keys[name], rtol=RELATIVE, atol=ABSOLUTE)


def test_parts_on_the_device_are_read_where_they_are(decoder, prompt):
    embeds, ids = prompt
    whole = decoder.prefill(embeds, ids)
    middle = DeviceArray((20, embeds.shape[1]), np.float32, "cpu")
    middle.write(embeds[10:30])
    for cuts in ([embeds[:10], embeds[10:]], [embeds[:10], middle, embeds[30:]]):
        decoder.cache.truncate(0)
        np.testing.assert_array_equal(decoder.prefill(cuts, ids), whole)
    # Shorter and longer ones use the same memory, one behind the other.
    decoder.cache.truncate(0)
    decoder.prefill([embeds[:10]], ids[:, :10])
    decoder.prefill([middle], ids[:, 10:30])
    logits = decoder.prefill([embeds[30:]], ids[:, 30:])
    np.testing.assert_allclose(logits, whole, rtol=RELATIVE, atol=ABSOLUTE)


def test_a_prefix_continues_as_if_it_had_just_been_read(decoder, prompt, rng):
    embeds, ids = prompt
    decoder.prefill(embeds[:25], ids[:, :25])
    prefix = decoder.cache.snapshot()
    assert prefix.length == 25
    first = decoder.prefill(embeds[25:], ids[:, 25:])
    decoder.cache.load(prefix)  # the same prefix: nothing is copied
    again = decoder.prefill(embeds[25:], ids[:, 25:])
    decoder.cache.truncate(0)
    decoder.prefill(rng.normal(size=embeds.shape).astype(np.float32), ids)
    decoder.cache.load(prefix)  # after another sequence: copied back
    assert decoder.cache.length == 25
    copied = decoder.prefill(embeds[25:], ids[:, 25:])
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(copied, first)


def test_a_prefix_is_a_copy(decoder, prompt):
    embeds, ids = prompt
    decoder.prefill(embeds, ids)
    prefix = decoder.cache.snapshot()
    before = {name: block.copy() for name, block in prefix.blocks.items()}
    decoder.cache.truncate(0)
    decoder.prefill(-embeds, ids)
    for name, block in prefix.blocks.items():
        np.testing.assert_array_equal(block, before[name])


def test_generating_with_the_cache_is_generating_without(toy_bundle, prompt):
    decoder, embedding = open_decoder(toy_bundle)
    embeds, ids = prompt
    cached = decoder.generate(decoder.prefill(embeds, ids), position=40, end=(), max_new_tokens=12)
    tokens: list[int] = []
    for _ in range(12):
        decoder.cache.truncate(0)
        rows = [embeds, rows_of(embedding, tokens)]
        logits = decoder.prefill(np.concatenate(rows), text_positions(40 + len(tokens)))
        tokens.append(int(np.argmax(logits)))
    assert list(cached.ids) == tokens
    assert not cached.is_complete


def test_an_end_token_ends(decoder, prompt):
    logits = decoder.prefill(*prompt)
    first = int(np.argmax(logits))
    generation = decoder.generate(logits, position=40, end={first}, max_new_tokens=12)
    assert generation.ids == (first,)
    assert generation.is_complete


def test_the_sequence_length_is_a_limit(tmp_path, toy_bundle, prompt):
    model = ModelSpec(**toy_bundle.manifest.model.model_dump() | {"max_sequence_length": 44})
    decoder, _ = open_decoder(write_toy_bundle(tmp_path / "short", model))
    embeds, ids = prompt
    generation = decoder.generate(
        decoder.prefill(embeds, ids), position=40, end=(), max_new_tokens=100
    )
    assert len(generation.ids) == 5  # four are read, the fifth needs no place
    assert not generation.is_complete
    with pytest.raises(InputError, match="has 45 tokens, the bundle takes 44"):
        decoder.prefill(embeds[:1], ids[:, :1])
    assert decoder.cache.length == 44


def test_logits_that_are_not_finite(decoder, prompt):
    embeds, ids = prompt
    embeds[-1, 3] = np.nan
    with pytest.raises(SessionError, match="logits are not finite"):
        decoder.prefill(embeds, ids)


def plain_runs(bundle, pieces):
    """The logits (V,) behind each of ``pieces`` (embeds, ids) by runs that share nothing."""
    model = bundle.manifest.model
    session = GraphSession(bundle.file("decoder.onnx"), num_threads=1, has_fixed_shapes=False)
    shape = (1, model.num_kv_heads, model.max_sequence_length, model.head_dim)
    state = {name: np.zeros(shape, np.float32) for name in session.inputs if "past" in name}
    length = 0
    cos, sin = np.zeros((2, model.max_sequence_length, model.head_dim // 2), np.float32)
    for embeds, ids in pieces:
        end = length + len(embeds)
        cos[length:end], sin[length:end] = rotary(model, ids)
        feeds = {
            "embeds": embeds[np.newaxis],
            "cos": cos,
            "sin": sin,
            "seqlens_k": np.array([end - 1], dtype=np.int32),
            "total_sequence_length": np.array(end, dtype=np.int32),
        }
        outputs = session.run(feeds | state)
        state = {name: outputs[name.replace("past", "present")] for name in state}
        length = end
        yield outputs["logits"][0]


def rotary(model, ids):
    return rotary_tables(
        ids, theta=model.rope_theta, sections=model.mrope_section, head_dim=model.head_dim
    )


def test_runs_on_buffers_are_plain_runs_bit_for_bit(toy_bundle, prompt):
    decoder, embedding = open_decoder(toy_bundle)
    embeds, ids = prompt
    pieces = [(embeds[:30], ids[:, :30]), (embeds[30:], ids[:, 30:])]
    first, whole = [decoder.prefill(*piece) for piece in pieces]
    tokens = decoder.generate(whole, position=40, end=(), max_new_tokens=8).ids
    for place, token in enumerate(tokens):
        row = rows_of(embedding, [token])
        pieces.append((row, text_positions(1, start=40 + place)))
    logits = list(plain_runs(toy_bundle, pieces))
    np.testing.assert_array_equal(first, logits[0])
    np.testing.assert_array_equal(whole, logits[1])
    assert list(tokens) == [int(np.argmax(one)) for one in logits[1:-1]]
    np.testing.assert_array_equal(decoder.prefill(*pieces[-1]), logits[-1])


def test_rotary_rows_of_an_answer_are_those_of_its_tokens_one_by_one(decoder, prompt, toy_bundle):
    embeds, ids = prompt
    decoder.generate(decoder.prefill(embeds, ids), position=57, end=(), max_new_tokens=100)
    assert decoder.cache.length == 139
    for row, position in zip(range(40, 139), range(57, 156), strict=True):
        cos, sin = rotary(toy_bundle.manifest.model, text_positions(1, start=position))
        np.testing.assert_array_equal(decoder.cache.cos[row : row + 1], cos)
        np.testing.assert_array_equal(decoder.cache.sin[row : row + 1], sin)


def test_ids_stand_for_their_embeddings(toy_bundle, prompt):
    decoder, embedding = open_decoder(toy_bundle)
    embeds, ids = prompt
    tokens = np.arange(60, 80)
    whole = decoder.prefill([embeds[:20], rows_of(embedding, tokens.tolist())], ids)
    decoder.cache.truncate(0)
    np.testing.assert_array_equal(decoder.prefill([embeds[:20], tokens], ids), whole)
    there = DeviceArray((20, embeds.shape[1]), np.float32, "cpu")
    there.write(embeds[:20])
    decoder.cache.truncate(0)
    np.testing.assert_array_equal(decoder.prefill([there, tokens], ids), whole)
    decoder.cache.truncate(0)
    alone = decoder.prefill(tokens, ids[:, :20])
    decoder.cache.truncate(0)
    rows = rows_of(embedding, tokens.tolist())
    np.testing.assert_array_equal(decoder.prefill(rows, ids[:, :20]), alone)


def test_rows_of_a_table_are_written_where_they_are_wanted(toy_bundle):
    _, embedding = open_decoder(toy_bundle)
    table = np.load(toy_bundle.file("embedding.npy")).astype(np.float32)
    rows = np.full((4, table.shape[1]), np.nan, dtype=np.float32)
    embedding.rows_into([3, 1, 3], rows[1:])
    np.testing.assert_array_equal(rows[1:], table[[3, 1, 3]])
    assert np.isnan(rows[0]).all()
    with pytest.raises(ValueError, match="zip"):
        embedding.rows_into([3, 1], rows)


def test_logits_that_are_kept_stay(decoder, prompt):
    embeds, ids = prompt
    first = decoder.prefill(embeds, ids)
    kept = first.copy()
    decoder.cache.truncate(0)
    second = decoder.prefill(-embeds, ids)
    decoder.generate(second, position=40, end=(), max_new_tokens=5)
    np.testing.assert_array_equal(first, kept)
    assert not np.array_equal(first, second)


def test_a_step_allocates_nothing_large(tmp_path, toy_bundle, prompt):
    model = toy_bundle.manifest.model.model_copy(update={"vocab_size": 65536})
    decoder, _ = open_decoder(write_toy_bundle(tmp_path / "words", model))
    embeds, ids = prompt
    logits = decoder.prefill(embeds, ids)
    steps = decoder.generating(logits, position=40, end=(), max_new_tokens=40)
    list(islice(steps, 5))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        list(islice(steps, 30))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert logits.nbytes == 4 * 65536
    # The logits take 256 KiB, and to say of each whether it is finite takes 64.
    assert peak - before < 16 << 10


@pytest.mark.parametrize("failure", [SessionError("out of luck"), KeyboardInterrupt()])
def test_a_run_that_is_broken_off_leaves_the_state_before(decoder, prompt, monkeypatch, failure):
    embeds, ids = prompt
    logits = decoder.prefill(embeds, ids)
    answer = decoder.generate(logits, position=40, end=(), max_new_tokens=8)
    decoder.cache.truncate(40)
    steps = decoder.generating(logits, position=40, end=(), max_new_tokens=8)
    list(islice(steps, 4))
    with monkeypatch.context() as patch:
        patch.setattr(decoder._graph._session, "run_bound", failing(failure))
        with pytest.raises(type(failure)):
            next(steps)
    assert decoder.cache.length == 43
    decoder.cache.truncate(40)
    assert decoder.generate(logits, position=40, end=(), max_new_tokens=8) == answer
    decoder.cache.truncate(0)
    np.testing.assert_array_equal(decoder.prefill(embeds, ids), logits)


def failing(failure):
    def fail(_):
        raise failure

    return fail
