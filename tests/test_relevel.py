"""Graphs of static INT8 opened under other ranges, or so that they tell their own."""

from __future__ import annotations

import json

import numpy as np
import pytest
from static_ranges import NAME, make_ranges

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import InputError, SessionError
from adcopilot_edge.runtime.bound import Buffer
from adcopilot_edge.runtime.engine import open_engine, relevel
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.levels import levels_of
from adcopilot_edge.runtime.relevel import Edges, WatchedGraph
from adcopilot_edge.runtime.session import GraphSession

pytestmark = pytest.mark.torch


def test_a_session_goes_by_the_ranges_it_is_given(static_bundle: Bundle) -> None:
    patches = np.random.default_rng(0).standard_normal((24, 1176)).astype(np.float32)
    engine = open_engine(static_bundle, provider="cpu", num_threads=1)
    own = engine.encoder.encode(patches).features
    edges: Edges = {}
    watching = relevel(engine, None, num_threads=1, edges=edges)
    np.testing.assert_array_equal(watching.encoder.encode(patches).features, own)
    seen = edges["vision"]
    assert len(seen) == 3 * 4
    again = relevel(engine, make_ranges(static_bundle, layers={"vision": seen}), num_threads=1)
    other = again.encoder.encode(patches).features
    assert again.id != engine.id
    # The export's ranges are those of pictures, which clip some of such noise.
    assert 0 < np.abs(other - own).max() < 0.3 * np.abs(own).max()
    # Clipped to nearly nothing, the blocks do too; it shows in the twin with probes as well.
    cut = {name: (low / 1000, high / 1000) for name, (low, high) in seen.items()}
    broken = relevel(engine, make_ranges(static_bundle, layers={"vision": cut}), num_threads=1)
    assert np.abs(broken.encoder.encode(patches).features - own).max() > 0.3 * np.abs(own).max()
    wrong, right = (one.encoder.probe(patches)["block_0"] for one in (broken, engine))
    assert np.abs(wrong - right).max() > 0.1 * np.abs(right).max()
    np.testing.assert_array_equal(engine.encoder.encode(patches).features, own)


def test_the_ranges_that_the_export_saw_give_the_same_numbers(static_bundle: Bundle) -> None:
    table = json.loads(static_bundle.file("ranges.json").read_text())["ranges"]
    layers = {
        name.removesuffix(".input"): (entry["min"], entry["max"])
        for name, entry in table.items()
        if name.endswith(".input") and ".blocks." in name
    }
    patches = np.random.default_rng(0).standard_normal((24, 1176)).astype(np.float32)
    engine = open_engine(static_bundle, provider="cpu", num_threads=1)
    same = relevel(engine, make_ranges(static_bundle, layers={"vision": layers}), num_threads=1)
    expected = engine.encoder.encode(patches).features
    np.testing.assert_array_equal(same.encoder.encode(patches).features, expected)


def test_a_layer_that_the_graph_lacks(static_bundle: Bundle) -> None:
    with pytest.raises(SessionError, match="existing initializer with name nothing"):
        GraphSession(
            static_bundle.file("vision.onnx"),
            num_threads=1,
            initializers={"nothing.input_scale": np.array(1, np.float32)},
        )


def test_a_golden_read_under_other_ranges_is_refused(static_bundle: Bundle, image_pair) -> None:
    inspector = Inspector.open(static_bundle.path, num_threads=1)
    golden = inspector.golden(image_pair[0])
    edges: Edges = {}
    watching = Inspector(relevel(inspector.engine, None, num_threads=1, edges=edges))
    watching.inspect(image_pair[0], image_pair[1])
    ranges = make_ranges(inspector.engine.bundle, layers=edges)
    renewed = Inspector(relevel(inspector.engine, ranges, num_threads=1))
    with pytest.raises(InputError, match="the golden was read by the bundle"):
        renewed.inspect(golden, image_pair[1])
    assert levels_of(*edges["vision"][NAME]).scale > 0


def test_a_graph_that_tells_its_ranges_keeps_no_state(static_bundle: Bundle) -> None:
    session = GraphSession(static_bundle.file("vision.ranges.onnx"), num_threads=1)
    watched = WatchedGraph(session, {})
    assert watched.bind({}) is watched
    buffer = Buffer((1, 2, 3), np.float32, "cpu")
    with pytest.raises(SessionError, match="updates nothing in place"):
        watched.bind({("patches", "features"): buffer})
