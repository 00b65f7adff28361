"""An engine in place of a graph, with the GPU's part played by onnxruntime on the CPU."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import faketrt
import numpy as np
import pytest

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import EngineError, SessionError
from adcopilot_edge.runtime.bound import Buffer
from adcopilot_edge.runtime.device_array import DeviceArray
from adcopilot_edge.runtime.engines.api import Api
from adcopilot_edge.runtime.engines.record import EngineRecord
from adcopilot_edge.runtime.engines.run import EngineGraph
from adcopilot_edge.runtime.session import GraphSession


class Stream:
    """A stream on which everything is done at once; counts how often it was waited for."""

    handle = 0x5EED
    num_waits = 0

    def synchronize(self) -> None:
        self.num_waits += 1


@pytest.fixture(params=["10.3", "11.4", "rtx"])
def api(request: pytest.FixtureRequest) -> Api:
    release = request.param
    return Api("tensorrt-rtx" if release == "rtx" else "tensorrt", faketrt.fake_module(release))


def put_engine(folder: Path, content: str, **changes: Any) -> tuple[Path, EngineRecord]:
    """An engine file with its record."""
    engine = folder / "comparison.engine"
    engine.write_text(content)
    fields = {
        "graph": "comparison",
        "graph_sha256": "0" * 64,
        "precision": "fp32",
        "products": {},
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content.encode()).hexdigest(),
    }
    return engine, faketrt.orin_record(**{**fields, **changes})


@pytest.fixture
def open_graph(api: Api, toy_bundle: Bundle, tmp_path: Path) -> Any:
    """Opens an engine that stands for the toy comparison graph, or for ``content``."""

    def open_it(content: str | None = None, **changes: Any) -> EngineGraph:
        graph = toy_bundle.file("comparison.onnx")
        engine, record = put_engine(tmp_path, content or str(graph), **changes)
        return EngineGraph(
            engine,
            record,
            api,
            graph=graph,
            device="cpu",
            rebuild="adcopilot-edge build bundle",
            stream=Stream(),
        )

    return open_it


@pytest.fixture
def feeds(toy_bundle: Bundle, rng: np.random.Generator) -> dict[str, Any]:
    model = toy_bundle.manifest.model
    shape = (model.num_patches, model.vision_width)
    return {name: rng.normal(size=shape).astype(np.float32) for name in ("previous", "current")}


def test_it_gives_what_the_graph_gives(open_graph: Any, feeds: Any, toy_bundle: Bundle) -> None:
    graph, session = open_graph(), GraphSession(toy_bundle.file("comparison.onnx"), num_threads=1)
    assert (graph.name, graph.provider) == ("comparison.engine", "tensorrt")
    assert graph.inputs == session.inputs
    assert graph.outputs == session.outputs
    graph.require(inputs=["previous"], outputs=["comparison_tokens"])
    outputs = graph.run(feeds)
    for name, expected in session.run(feeds).items():
        assert isinstance(outputs[name], DeviceArray)
        np.testing.assert_array_equal(outputs[name], expected)


def test_a_run_is_put_on_the_stream_and_waited_for(open_graph: Any, feeds: Any, api: Api) -> None:
    graph = open_graph()
    context = api.trt.Runtime.last.context
    graph.run(feeds)
    graph.run(feeds)
    assert context.streams == [Stream.handle] * 2
    assert graph._stream.num_waits == 2


def test_memory_is_allocated_once(open_graph: Any, feeds: Any, api: Api) -> None:
    graph = open_graph()
    context = api.trt.Runtime.last.context
    before = dict(context.addresses)
    assert set(before) == {*graph.inputs, *graph.outputs}
    first = graph.run(feeds)
    second = graph.run({name: array + 1 for name, array in feeds.items()})
    assert context.addresses == before
    assert {name: array.address for name, array in first.items()} == {
        name: array.address for name, array in second.items()
    }


def test_what_lies_on_the_device_is_used_where_it_is(open_graph: Any, feeds: Any, api: Api) -> None:
    graph = open_graph()
    context = api.trt.Runtime.last.context
    own = context.addresses["current"]
    expected = np.asarray(graph.run(feeds)["anomaly_logits"])
    there = DeviceArray(feeds["current"].shape, np.float32, "cpu")
    there.write(feeds["current"])
    outputs = graph.run({"previous": feeds["previous"] * 1, "current": there})
    assert context.addresses["current"] == there.address != own
    np.testing.assert_array_equal(outputs["anomaly_logits"], expected)
    there.write(feeds["current"] * 0)
    changed = np.asarray(
        graph.run({"previous": feeds["previous"], "current": there})["anomaly_logits"]
    )
    assert not np.array_equal(changed, expected)
    # And back to the engine's own memory.
    np.testing.assert_array_equal(graph.run(feeds)["anomaly_logits"], expected)
    assert context.addresses["current"] == own


def test_a_read_only_array_is_copied_once(
    open_graph: Any, feeds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, written = open_graph(), []
    write = DeviceArray.write

    def spy(buffer: DeviceArray, array: Any) -> None:
        written.append(array)
        write(buffer, array)

    monkeypatch.setattr(DeviceArray, "write", spy)
    golden, other = feeds["previous"], feeds["current"] * 2
    golden.setflags(write=False)
    results = []
    for previous in (golden, golden, other, golden):
        outputs = graph.run({"previous": previous, "current": feeds["current"]})
        results.append(np.asarray(outputs["anomaly_logits"]))
    previous = [array for array in written if array is not feeds["current"]]
    assert [array is golden for array in previous] == [True, False, True]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[3])
    assert not np.array_equal(results[0], results[2])


def test_an_array_that_may_change_is_copied_each_time(open_graph: Any, feeds: Any) -> None:
    graph = open_graph()
    before = np.asarray(graph.run(feeds)["anomaly_logits"])
    view = feeds["current"][:]
    view.setflags(write=False)  # what it shows may change all the same
    graph.run({**feeds, "current": view})
    feeds["current"][:] += 1
    after = np.asarray(graph.run({**feeds, "current": view})["anomaly_logits"])
    assert not np.array_equal(before, after)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"current": np.zeros((24, 7), np.float32)}, r"\(24, 8\), got float32 \(24, 7\)"),
        ({"current": DeviceArray((24, 8), np.float16, "cpu")}, "must be float32 .+ got float16"),
        ({"other": np.zeros(1, np.float32)}, "unknown input 'other'"),
    ],
)
def test_feeds_are_checked(open_graph: Any, feeds: Any, change: Any, message: str) -> None:
    with pytest.raises(SessionError, match=message):
        open_graph().run(feeds | change)


def test_an_engine_that_fails(
    open_graph: Any, feeds: Any, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = open_graph()

    def fail(stream_handle: int) -> bool:
        severity = api.trt.ILogger.Severity.ERROR
        api.trt.Runtime.last_log.log(severity, "an illegal memory access was encountered")
        return False

    monkeypatch.setattr(api.trt.Runtime.last.context, "execute_async_v3", fail)
    with pytest.raises(SessionError, match=r"comparison\.engine failed: an illegal memory access"):
        graph.run(feeds)


def test_memory_that_an_engine_does_not_take(open_graph: Any, feeds: Any, api: Api) -> None:
    graph = open_graph()
    api.trt.Runtime.last.context.set_tensor_address = lambda name, memory: False
    there = DeviceArray(feeds["current"].shape, np.float32, "cpu")
    with pytest.raises(SessionError, match="takes no memory for current"):
        graph.run({**feeds, "current": there})


def test_it_keeps_no_state(open_graph: Any) -> None:
    graph = open_graph()
    assert graph.bind({}) is graph
    with pytest.raises(SessionError, match="updates nothing in place"):
        graph.bind({("previous", "comparison_tokens"): Buffer((1, 2), np.float32, "cpu")})
    with pytest.raises(SessionError, match=r"has no input 'patches', no output 'tokens'\. Export"):
        graph.require(inputs=["patches"], outputs=["tokens"])


@pytest.mark.parametrize("changes", [{"sha256": "0" * 64}, {"size_bytes": 8}])
def test_a_damaged_engine_is_not_even_loaded(open_graph: Any, changes: Any) -> None:
    with pytest.raises(EngineError, match=r"is damaged\. Build it again with: adcopilot-edge"):
        open_graph("refused", **changes)


def test_an_engine_that_is_refused(open_graph: Any, api: Api) -> None:
    message = rf"{api.version} can't load .*: the engine is of another GPU\. Build it again with: a"
    with pytest.raises(EngineError, match=message):
        open_graph("refused")


def test_the_real_package_refuses_what_is_no_engine(
    rtx: Api, tmp_path: Path, toy_bundle: Bundle
) -> None:
    engine, record = put_engine(tmp_path, "no engine at all" * 100, backend="tensorrt-rtx")
    with pytest.raises(EngineError, match=r"can't load .*comparison\.engine: .+ Build it again"):
        EngineGraph(
            engine,
            record,
            rtx,
            graph=toy_bundle.file("comparison.onnx"),
            device="cpu",
            rebuild="adcopilot-edge build bundle",
            stream=Stream(),
        )


def test_too_little_memory_on_the_gpu(open_graph: Any, api: Api) -> None:
    api.trt.ICudaEngine.create_execution_context = lambda *_: None
    with pytest.raises(EngineError, match=r"needs 5 MiB of GPU memory to run: .*Close other"):
        open_graph()


def test_a_stripped_engine_takes_the_weights_of_its_graph(
    open_graph: Any, api: Api, toy_bundle: Bundle, feeds: Any
) -> None:
    graph = open_graph(is_stripped=True)
    assert api.trt.OnnxParserRefitter.last == str(toy_bundle.file("comparison.onnx"))
    graph.run(feeds)
    api.trt.Refitter.fits = False
    with pytest.raises(EngineError, match="can't load"):
        open_graph(is_stripped=True)


def test_weights_stream_within_what_is_free(open_graph: Any, api: Api) -> None:
    open_graph()
    assert api.trt.Runtime.last.weight_streaming_budget_v2 == -1
    open_graph(streams_weights=True)
    assert api.trt.Runtime.last.weight_streaming_budget_v2 == 1 << 20
