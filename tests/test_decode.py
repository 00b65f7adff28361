"""The decoder loop: reading in parts is reading at once, and a cache changes no answer."""

from __future__ import annotations

import numpy as np
import pytest
from toy import write_toy_bundle

from adcopilot_edge.errors import InputError, SessionError
from adcopilot_edge.manifest import ModelSpec
from adcopilot_edge.positions import TextSpan, mrope_positions
from adcopilot_edge.runtime.decode import Decoder
from adcopilot_edge.runtime.device_array import DeviceArray
from adcopilot_edge.runtime.embedding import EmbeddingTable

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
        rows = [embeds, embedding.rows(np.array(tokens, dtype=np.int64))]
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
