"""How engines are built: options, progress, refusals; TensorRT-RTX really, TensorRT by a fake."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import faketrt
import pytest

from adcopilot_edge.bundle import Bundle, open_bundle, write_manifest
from adcopilot_edge.errors import BuildError, ConfigError, ProviderUnavailableError
from adcopilot_edge.record import Precision
from adcopilot_edge.runtime.cuda import Gpu, find_gpu
from adcopilot_edge.runtime.engines.api import Api
from adcopilot_edge.runtime.engines.build import BuildOptions, build_engine, plan_builds
from adcopilot_edge.runtime.engines.record import EngineRecord

pytestmark = pytest.mark.torch

BUILD = "adcopilot_edge.runtime.engines.build"
AMPERE = BuildOptions(capabilities=((8, 6),))
ORIN = Gpu("Orin", (8, 7))


def has_gpu() -> bool:
    try:
        find_gpu()
    except ProviderUnavailableError:
        return False
    return True


@pytest.fixture
def bundle(tensorrt_bundles: dict[Precision, Bundle], tmp_path: Path) -> Bundle:
    """A copy of the float16 bundle that a test may change."""
    return copy_of(tensorrt_bundles["fp16"], tmp_path / "bundle")


def copy_of(bundle: Bundle, folder: Path) -> Bundle:
    folder.mkdir()
    for name in (*bundle.manifest.files, "manifest.json"):
        (folder / name).write_bytes(bundle.file(name).read_bytes())
    return open_bundle(folder)


def build_all(
    bundle: Bundle, api: Api, options: BuildOptions = AMPERE, **how: Any
) -> list[EngineRecord]:
    plans = plan_builds(bundle, api, options)
    return [build_engine(bundle, plan, api, options, **how) for plan in plans]


def test_an_engine_for_several_gpus(bundle: Bundle, rtx: Api) -> None:
    options = BuildOptions(capabilities=((8, 6), (8, 9)))
    plan = plan_builds(bundle, rtx, options)[0]
    assert plan.engine.parent.name.endswith("-sm86-sm89")
    assert build_engine(bundle, plan, rtx, options).compute_capabilities == ("8.6", "8.9")


def test_weights_that_stream(bundle: Bundle, rtx: Api) -> None:
    options = replace(AMPERE, streams_weights=True, workspace_bytes=1 << 30)
    record = build_engine(bundle, plan_builds(bundle, rtx, options)[0], rtx, options)
    assert (record.streams_weights, record.workspace_bytes) == (True, 1 << 30)


def test_progress(bundle: Bundle, rtx: Api) -> None:
    seen: list[tuple[str, int, int]] = []
    build_engine(
        bundle,
        plan_builds(bundle, rtx, AMPERE)[0],
        rtx,
        AMPERE,
        on_step=lambda *event: seen.append(event),
    )
    total = seen[0][2]
    assert seen[0] == ("vision", 0, total)
    assert seen[-1] == ("vision", total, total)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_ctrl_c_ends_a_build_and_leaves_nothing(bundle: Bundle, rtx: Api) -> None:
    def interrupt(graph: str, done: int, total: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    plan, handler = plan_builds(bundle, rtx, AMPERE)[0], signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        build_engine(bundle, plan, rtx, AMPERE, on_step=interrupt)
    assert not plan.engine.parent.exists()
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_refusal_says_why_and_leaves_the_older_engine(bundle: Bundle, rtx: Api) -> None:
    plan = plan_builds(bundle, rtx, AMPERE)[0]
    build_engine(bundle, plan, rtx, AMPERE)
    before = {path.name: path.read_bytes() for path in plan.engine.parent.iterdir()}
    options = replace(AMPERE, workspace_bytes=1)
    with pytest.raises(BuildError, match=r"the vision graph: .*workspace.* Raise --workspace"):
        build_engine(bundle, plan, rtx, options)
    assert {path.name: path.read_bytes() for path in plan.engine.parent.iterdir()} == before


@pytest.mark.skipif(has_gpu(), reason="with a GPU it strips")
def test_weights_are_stripped_only_where_there_is_a_gpu(
    bundle: Bundle, rtx: Api, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BuildError, match="with a GPU only: leave out --strip-weights"):
        build_all(bundle, rtx, replace(AMPERE, is_stripped=True))
    assert capfd.readouterr().out == ""  # where --json has its object


def test_a_graph_that_the_parser_refuses(bundle: Bundle, rtx: Api) -> None:
    bundle.file("vision.onnx").write_bytes(b"no graph at all")
    with pytest.raises(BuildError, match=r"does not read vision\.onnx: .+ Export the bundle again"):
        build_all(bundle, rtx)
    assert not (bundle.path / "engines").exists()


def test_a_graph_that_is_not_what_its_manifest_says(bundle: Bundle, rtx: Api) -> None:
    graphs = {
        name: graph.model_copy(update={"precision": "int8"})
        for name, graph in bundle.manifest.graphs.items()
    }
    write_manifest(bundle.path, bundle.manifest.model_copy(update={"graphs": graphs}))
    with pytest.raises(BuildError, match="INT8 by its manifest, but none of its products is"):
        build_all(open_bundle(bundle.path), rtx)


def test_too_little_memory(bundle: Bundle, rtx: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_builds(bundle, rtx, AMPERE)[0]
    roomy = plan_builds(bundle, rtx, replace(AMPERE, workspace_bytes=1 << 30))[0]
    assert roomy.memory_bytes == plan.memory_bytes + (1 << 30)
    assert plan.memory_bytes > 3 * plan.weight_bytes
    monkeypatch.setattr(f"{BUILD}.free_bytes", lambda: plan.memory_bytes - 1)
    with pytest.raises(BuildError, match=r"about 0\.4 GiB of memory, 0\.4 GiB are free\. Close"):
        build_engine(bundle, plan, rtx, AMPERE)
    monkeypatch.setattr(f"{BUILD}.free_bytes", lambda: None)
    build_engine(bundle, plan, rtx, AMPERE)


def test_a_disk_that_is_full(bundle: Bundle, rtx: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_builds(bundle, rtx, AMPERE)[0]

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(BuildError, match=r"vision\.engine failed: No space left on device\. Make"):
        build_engine(bundle, plan, rtx, AMPERE)
    assert list(plan.engine.parent.iterdir()) == []


def test_a_bundle_for_another_target(toy_bundle: Bundle, rtx: Api) -> None:
    with pytest.raises(ConfigError, match=r"target 'cpu'.* Export it with --target tensorrt"):
        plan_builds(toy_bundle, rtx, AMPERE)


def test_a_gpu_that_is_not_named(bundle: Bundle, rtx: Api) -> None:
    with pytest.raises(ConfigError, match="say which with --compute-capability"):
        plan_builds(bundle, rtx, BuildOptions())
    with pytest.raises(ConfigError, match=r"can't build for compute capability 8\.7"):
        plan_builds(bundle, rtx, BuildOptions(capabilities=((8, 7),)))


class TestTensorrt:
    """The package that builds on the GPU at hand; here it is a fake."""

    @pytest.fixture(params=["10.3", "10.16", "11.4"])
    def api(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Api:
        monkeypatch.setattr(f"{BUILD}.find_gpu", lambda: ORIN)
        monkeypatch.setattr(f"{BUILD}.check_products", lambda *_: {"fp16": 7})
        return Api("tensorrt", faketrt.fake_module(request.param))

    def test_it_builds_for_the_gpu_at_hand(self, bundle: Bundle, api: Api) -> None:
        records = build_all(bundle, api, BuildOptions())
        assert [record.gpu for record in records] == ["Orin", "Orin"]
        assert records[0].compute_capabilities == ("8.7",)
        folder = bundle.path / "engines" / f"tensorrt-{api.version}-sm87"
        assert (folder / "vision.engine").read_text() == str(bundle.file("vision.onnx"))
        assert json.loads((folder / "vision.engine.json").read_text())["products"] == {"fp16": 7}
        builder = api.trt.Builder.last
        assert builder.flags == 1 << api.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
        assert builder.config.capabilities == []
        assert builder.config.flags == set()
        assert builder.config.workspace is None

    def test_options_reach_it(self, bundle: Bundle, api: Api) -> None:
        options = BuildOptions(workspace_bytes=5, streams_weights=True, is_stripped=True)
        record = build_all(bundle, api, options)[0]
        config, flags = api.trt.Builder.last.config, api.trt.BuilderFlag
        assert config.workspace == 5
        assert config.flags == {flags.WEIGHT_STREAMING, flags.STRIP_PLAN}
        assert record.workspace_bytes == 5
        assert record.streams_weights
        assert record.is_stripped

    def test_times_of_kernels_are_kept_for_the_next_build(self, bundle: Bundle, api: Api) -> None:
        build_all(bundle, api, BuildOptions())
        cache = bundle.path / "engines" / f"tensorrt-{api.version}-sm87" / "timing.cache"
        assert cache.read_bytes() == b"++"
        cache.write_bytes(b"other device")
        build_all(bundle, api, BuildOptions())
        assert cache.read_bytes() == b"++"

    def test_a_compute_capability_is_refused(self, bundle: Bundle, api: Api) -> None:
        with pytest.raises(ConfigError, match="leave out the compute capability"):
            plan_builds(bundle, api, AMPERE)

    def test_without_a_gpu(self, bundle: Bundle, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        monkeypatch.setattr("adcopilot_edge.runtime.cuda._LIBRARY", "libcuda-that-nobody-has.so.1")
        with pytest.raises(ProviderUnavailableError, match="no NVIDIA driver here"):
            plan_builds(bundle, api, BuildOptions())

    def test_a_refusal(self, bundle: Bundle, api: Api) -> None:
        api.trt.Builder.refusal = "no kernel fits"
        with pytest.raises(BuildError, match=r"can't build the vision graph: no kernel fits\.$"):
            build_all(bundle, api, BuildOptions())
        assert not (bundle.path / "engines").exists()
