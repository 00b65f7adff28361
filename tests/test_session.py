"""Graphs on onnxruntime: its errors become ours, providers are never swapped, borders checked."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as native

from adcopilot_edge.errors import (
    ConfigError,
    MissingExtraError,
    ProviderUnavailableError,
    SessionError,
)
from adcopilot_edge.runtime.bound import Buffer
from adcopilot_edge.runtime.ort import ADVICE, load_onnxruntime
from adcopilot_edge.runtime.session import PROVIDER_CLASSES, GraphSession, check_provider

NATIVE_ERRORS = [
    value
    for value in vars(native).values()
    if isinstance(value, type) and issubclass(value, Exception)
]


class Failing:
    """Stands for an onnxruntime session that raises."""

    def __init__(self, error):
        self._error = error

    def run(self, *_):
        raise self._error


class Elsewhere:
    """Stands for an onnxruntime session that started on another provider than asked for."""

    def __init__(self, *_, **__):
        pass

    def get_providers(self):
        return ["SlowExecutionProvider"]


@pytest.fixture
def comparison(toy_bundle):
    return GraphSession(toy_bundle.file("comparison.onnx"), num_threads=1)


@pytest.fixture
def feeds(toy_bundle, rng):
    model = toy_bundle.manifest.model
    shape = (model.num_patches, model.vision_width)
    return {name: rng.normal(size=shape).astype(np.float32) for name in ("previous", "current")}


def test_a_run_gives_all_outputs_by_name(comparison, feeds, toy_bundle):
    model = toy_bundle.manifest.model
    outputs = comparison.run(feeds)
    assert {name: array.shape for name, array in outputs.items()} == {
        "comparison_tokens": (model.compare_token_size, model.hidden_size),
        "anomaly_logits": model.grid,
    }


@pytest.mark.parametrize("error_class", [*NATIVE_ERRORS, RuntimeError])
def test_each_error_of_onnxruntime_becomes_a_session_error(comparison, feeds, error_class):
    error = error_class("[ONNXRuntimeError] : 6 : FAIL : out of luck.")
    comparison._session = Failing(error)
    with pytest.raises(SessionError, match=r"^comparison\.onnx failed: out of luck\. ") as caught:
        comparison.run(feeds)
    assert caught.value.__cause__ is error
    assert ADVICE.get(error_class.__name__, ADVICE["RuntimeException"]) in str(caught.value)


def test_there_is_advice_for_each_error_of_onnxruntime():
    assert NATIVE_ERRORS
    assert {error.__name__ for error in NATIVE_ERRORS} <= set(ADVICE)


def test_a_file_that_is_missing_or_no_graph(tmp_path):
    path = tmp_path / "graph.onnx"
    with pytest.raises(SessionError, match=ADVICE["NoSuchFile"]):
        GraphSession(path)
    path.write_bytes(b"no graph at all")
    with pytest.raises(SessionError, match=ADVICE["InvalidProtobuf"]):
        GraphSession(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"current": np.zeros((24, 7), np.float32)}, r"\(24, 8\), got float32 \(24, 7\)"),
        ({"current": np.zeros(24, np.float32)}, r"\(24, 8\), got float32 \(24\)"),
        ({"current": np.zeros((24, 8))}, r"'current' must be float32 .+ got float64"),
        ({"other": np.zeros(1, np.float32)}, "unknown input 'other'"),
        ({"current": None}, "no input 'current'"),
    ],
)
def test_feeds_are_checked(comparison, feeds, change, message):
    changed = {name: array for name, array in (feeds | change).items() if array is not None}
    with pytest.raises(SessionError, match=message):
        comparison.run(changed)


def test_all_findings_come_at_once(comparison):
    with pytest.raises(SessionError, match=r"no input 'previous'; no input 'current'; unknown"):
        comparison.run({"other": np.zeros(1, np.float32)})


def test_a_graph_without_the_names_of_the_contract(comparison):
    with pytest.raises(SessionError, match=r"has no input 'patches', no output 'tokens'\. Export"):
        comparison.require(inputs=["patches", "previous"], outputs=["tokens"])
    with pytest.raises(SessionError, match=r"has no input 'past_key\.0'"):
        comparison.bind({("past_key.0", "present_key.0"): Buffer((1, 2), np.float32, "cpu")})


def test_an_unknown_provider(toy_bundle):
    with pytest.raises(ConfigError, match="one of cpu, cuda, got 'abacus'"):
        GraphSession(toy_bundle.file("comparison.onnx"), provider="abacus")


def test_an_absent_provider_is_no_fallback(monkeypatch):
    ort = load_onnxruntime()
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ProviderUnavailableError, match=r"'cuda' is not in this onnxruntime"):
        check_provider("cuda")


def test_a_provider_that_did_not_start_is_no_fallback(monkeypatch, tmp_path):
    monkeypatch.setattr(load_onnxruntime(), "InferenceSession", Elsewhere)
    with pytest.raises(ProviderUnavailableError, match="offers SlowExecutionProvider instead"):
        GraphSession(tmp_path / "graph.onnx")


def test_threads_below_one(toy_bundle):
    with pytest.raises(ConfigError, match="num_threads must be at least 1, got 0"):
        GraphSession(toy_bundle.file("comparison.onnx"), num_threads=0)


def test_onnxruntime_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'adcopilot-edge\[cpu\]'"):
        check_provider("cpu")


@pytest.mark.parametrize(("provider", "options"), [("cpu", {}), ("cuda", {"use_tf32": "0"})])
def test_float32_is_float32_on_every_provider(monkeypatch, tmp_path, provider, options):
    ort, asked = load_onnxruntime(), []
    name = PROVIDER_CLASSES[provider]

    def keep(*_, providers, **__):
        asked.extend(providers)
        return Elsewhere()

    monkeypatch.setattr(ort, "get_available_providers", lambda: [name])
    monkeypatch.setattr(ort, "InferenceSession", keep)
    with pytest.raises(ProviderUnavailableError):
        GraphSession(tmp_path / "graph.onnx", provider=provider)
    assert asked == [(name, options)]


def test_the_order_of_nodes_changes_no_value(toy_bundle, rng):
    path = toy_bundle.file("comparison.onnx")
    sessions = [GraphSession(path, num_threads=1, keeps_order=keeps) for keeps in (False, True)]
    feeds = {
        name: rng.normal(size=spec.shape).astype(spec.dtype)
        for name, spec in sessions[0].inputs.items()
    }
    free, kept = (session.run(feeds) for session in sessions)
    for name in free:
        np.testing.assert_array_equal(free[name], kept[name])
