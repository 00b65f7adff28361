"""A whole inspection with engines, found and opened as ``--provider tensorrt`` does, on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faketrt
import numpy as np
import pytest
from toy import write_toy_bundle

from adcopilot_edge.bundle import Bundle, open_bundle, write_manifest
from adcopilot_edge.errors import ConfigError, EngineError, ProviderUnavailableError
from adcopilot_edge.runtime.cuda import Gpu
from adcopilot_edge.runtime.device_array import DeviceArray
from adcopilot_edge.runtime.engine import open_engine
from adcopilot_edge.runtime.engines.api import Api
from adcopilot_edge.runtime.engines.build import BuildOptions, build_engine, plan_builds
from adcopilot_edge.runtime.engines.open import engine_opener
from adcopilot_edge.runtime.engines.record import read_record
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.ladder import run_ladder
from adcopilot_edge.runtime.session import GraphSession

ORIN = Gpu("Orin", (8, 7))
ENGINES = "adcopilot_edge.runtime.engines"


class Stream:
    """A stream on which everything is done at once."""

    handle = 0x5EED

    def synchronize(self) -> None:
        pass


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A toy bundle with engines for the GPU at hand."""
    api = Api("tensorrt", faketrt.fake_module("10.3"))
    for module in ("build", "open"):
        monkeypatch.setattr(f"{ENGINES}.{module}.find_gpu", lambda: ORIN)
    monkeypatch.setattr(f"{ENGINES}.build.check_products", lambda *_: {})
    monkeypatch.setattr(f"{ENGINES}.open.load_api", lambda _: api)
    monkeypatch.setattr(f"{ENGINES}.run.open_stream", Stream)
    bundle = write_toy_bundle(tmp_path / "bundle")
    write_manifest(bundle.path, bundle.manifest.model_copy(update={"target": "tensorrt"}))
    bundle = open_bundle(bundle.path)
    for plan in plan_builds(bundle, api, BuildOptions()):
        build_engine(bundle, plan, api, BuildOptions())
    return bundle


@pytest.fixture
def inspector(bundle: Bundle) -> Inspector:
    """The engines, on the CPU, with the decoder beside them."""
    open_vision = engine_opener(bundle, "tensorrt")

    def open_either(path: Path, **how: Any) -> Any:
        return (GraphSession if path.stem == "decoder" else open_vision)(path, **how)

    return Inspector(open_engine(bundle, provider="cpu", num_threads=1, open_graph=open_either))


def test_every_stage_is_as_without_engines(
    bundle: Bundle, inspector: Inspector, image_pair: Any
) -> None:
    plain = Inspector.open(bundle.path, num_threads=1)
    golden, test = image_pair
    for picture in (test, golden):
        expected = run_ladder(plain, golden, picture, max_new_tokens=6)
        actual = run_ladder(inspector, golden, picture, max_new_tokens=6)
        for stage, array in expected.items():
            assert type(actual[stage]) is np.ndarray
            np.testing.assert_array_equal(actual[stage], array, err_msg=stage)


def test_inspections_of_one_golden_are_as_without_engines(
    bundle: Bundle, inspector: Inspector, image_pair: Any
) -> None:
    plain = Inspector.open(bundle.path, num_threads=1)
    golden, test = image_pair
    reference, expected = inspector.golden(golden), plain.golden(golden)
    for picture in (test, golden, test):
        result = inspector.inspect(reference, picture, task="all", max_new_tokens=4)
        wanted = plain.inspect(expected, picture, task="all", max_new_tokens=4)
        assert result.text == wanted.text
        assert result.defects == wanted.defects
        assert result.anomaly_score == wanted.anomaly_score


def test_features_and_tokens_stay_on_the_device(
    inspector: Inspector, image_pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden, test = image_pair
    reference = inspector.golden(golden)
    inspector.inspect(reference, test)
    read: list[tuple[int, ...]] = []
    written: list[tuple[int, ...]] = []
    to_host, to_device = DeviceArray.__array__, DeviceArray.write

    def spy_read(array: DeviceArray, *how: Any, **named: Any) -> Any:
        read.append(array.shape)
        return to_host(array, *how, **named)

    def spy_write(array: DeviceArray, values: Any) -> None:
        written.append(array.shape)
        to_device(array, values)

    monkeypatch.setattr(DeviceArray, "__array__", spy_read)
    monkeypatch.setattr(DeviceArray, "write", spy_write)
    inspector.inspect(reference, test)
    model = inspector.engine.bundle.manifest.model
    assert read == [model.grid]  # the anomaly map, which the host draws
    assert written == [(model.num_patches, model.patch_values)]  # the picture


def test_a_golden_s_features_are_its_own(inspector: Inspector, image_pair: Any) -> None:
    golden, test = image_pair
    features = inspector.golden(golden).features
    before = features.copy()
    inspector.golden(test)
    np.testing.assert_array_equal(features, before)
    assert not features.flags.writeable


def test_a_stale_engine(bundle: Bundle) -> None:
    bundle.file("vision.onnx").write_bytes(b"another")
    entry = bundle.manifest.files["vision.onnx"].model_copy(update={"sha256": "1" * 64})
    files = {**bundle.manifest.files, "vision.onnx": entry}
    write_manifest(bundle.path, bundle.manifest.model_copy(update={"files": files}))
    stale = open_bundle(bundle.path, verify=False)
    with pytest.raises(EngineError, match=r"was built from another graph.* with: adcopilot"):
        engine_opener(stale, "tensorrt")


def test_the_provider_is_said_to_be_known(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="cpu, cuda, tensorrt, tensorrt-rtx, got 'abacus'"):
        open_engine(bundle, provider="abacus", num_threads=None)


def test_engines_need_cuda_for_the_decoder(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    available = ["CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: available)
    with pytest.raises(ProviderUnavailableError, match="'cuda' is not in this onnxruntime"):
        Inspector.open(bundle.path, provider="tensorrt")


def test_no_gpu(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("adcopilot_edge.runtime.cuda._LIBRARY", "libcuda-that-nobody-has.so.1")
    monkeypatch.setattr(f"{ENGINES}.open.load_api", lambda _: None)
    with pytest.raises(ProviderUnavailableError, match="no NVIDIA driver here"):
        Inspector.open(bundle.path, provider="tensorrt")


def test_records_lie_beside_the_engines(bundle: Bundle) -> None:
    for engine in bundle.path.glob("engines/*/*.engine"):
        assert read_record(engine).gpu == "Orin"
