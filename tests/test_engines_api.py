"""One face for the releases of TensorRT: the table, and that the real package is as it says."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import faketrt
import pytest

from adcopilot_edge.errors import ConfigError, MissingExtraError, ProviderUnavailableError
from adcopilot_edge.runtime.engines.api import Api, load_api, parse_capabilities
from adcopilot_edge.runtime.engines.log import open_log, start

RELEASES = ("10.3", "10.16", "11.4", "rtx")
# What the code calls on each class. Nobody else checks the runtime's side without a GPU.
CALLED = {
    "Builder": ("build_serialized_network", "create_builder_config", "create_network"),
    "IBuilderConfig": (
        "clear_flag",
        "create_timing_cache",
        "get_timing_cache",
        "num_compute_capabilities",
        "progress_monitor",
        "set_compute_capability",
        "set_flag",
        "set_memory_pool_limit",
        "set_timing_cache",
    ),
    "ICudaEngine": (
        "create_execution_context",
        "create_runtime_config",
        "device_memory_size_v2",
        "get_tensor_dtype",
        "get_tensor_mode",
        "get_tensor_name",
        "get_tensor_shape",
        "get_weight_streaming_automatic_budget",
        "num_io_tensors",
        "weight_streaming_budget_v2",
    ),
    "IExecutionContext": ("execute_async_v3", "set_tensor_address"),
    "IHostMemory": ("nbytes",),
    "INetworkDefinition": ("get_layer", "num_layers"),
    "IProgressMonitor": ("phase_finish", "phase_start", "step_complete"),
    "IRuntimeConfig": ("cuda_graph_strategy",),
    "ITimingCache": ("serialize",),
    "OnnxParser": ("get_error", "num_errors", "parse_from_file"),
    "OnnxParserRefitter": ("refit_from_file",),
    "Refitter": ("refit_cuda_engine",),
    "Runtime": ("deserialize_cuda_engine",),
}
# The arguments, as the package's own documentation has them.
SIGNATURES = {
    "ICudaEngine.create_execution_context": "runtime_config: {m}.IRuntimeConfig",
    "ICudaEngine.get_weight_streaming_automatic_budget": "-> int",
    "IExecutionContext.execute_async_v3": "stream_handle: typing.SupportsInt) -> bool",
    "IExecutionContext.set_tensor_address": "name: str, memory: typing.SupportsInt) -> bool",
    "OnnxParserRefitter.refit_from_file": "model: str) -> bool",
    "Refitter.refit_cuda_engine": "-> bool",
    "Runtime.deserialize_cuda_engine": "serialized_engine: typing_extensions.Buffer",
}


def fake_api(release: str) -> Api:
    return Api("tensorrt-rtx" if release == "rtx" else "tensorrt", faketrt.fake_module(release))


@pytest.mark.parametrize("release", RELEASES)
def test_what_differs_by_release(release: str) -> None:
    api, is_rtx = fake_api(release), release == "rtx"
    assert api.version == faketrt.VERSIONS[release]
    assert api.strong_typing() == 0b10
    assert api.names_targets is is_rtx
    assert api.times_kernels is not is_rtx
    assert api.targets() == (((8, 6), (8, 9), (12, 0)) if is_rtx else ())


@pytest.mark.parametrize("release", RELEASES)
def test_a_cuda_graph_is_asked_for_where_the_api_has_it(release: str, toy_bundle) -> None:
    api = fake_api(release)
    engine = api.trt.ICudaEngine(toy_bundle.file("comparison.onnx"))
    assert api.create_context(engine) is engine.context
    if release == "rtx":
        assert engine.config.cuda_graph_strategy == faketrt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    else:
        assert engine.config is None


def test_a_release_without_the_flag_needs_none() -> None:
    api = fake_api("11.4")
    api.trt.NetworkDefinitionCreationFlag = object()
    assert api.strong_typing() == 0


def test_the_real_package(rtx: Api) -> None:
    assert rtx.names_targets
    assert {(8, 6), (8, 9), (12, 0)} <= {*rtx.targets()}
    log = open_log(rtx)
    config = start(rtx, "Builder", log).create_builder_config()
    rtx.set_targets(config, ((8, 6), (12, 0)))
    capabilities = rtx.trt.ComputeCapability
    assert config.num_compute_capabilities == 2
    assert config.get_compute_capability(0) == capabilities.SM86
    assert config.get_compute_capability(1) == capabilities.SM120
    assert rtx.strong_typing() == 1 << int(rtx.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    # What the build clears for what stays in float32.
    assert config.get_flag(rtx.trt.BuilderFlag.TF32)


def test_its_timing_cache_has_no_effect_and_warns(rtx: Api) -> None:
    config = start(rtx, "Builder", open_log(rtx)).create_builder_config()
    timings = config.create_timing_cache(b"")
    with pytest.warns(DeprecationWarning, match="no-ops in TensorRT-RTX"):
        config.set_timing_cache(timings, ignore_mismatch=False)
    assert not rtx.times_kernels


@pytest.mark.parametrize("name", CALLED)
def test_the_real_classes_have_what_is_called(rtx: Api, name: str) -> None:
    missing = [member for member in CALLED[name] if not hasattr(getattr(rtx.trt, name), member)]
    assert missing == []


@pytest.mark.parametrize("method", SIGNATURES)
def test_the_real_methods_take_what_they_are_given(rtx: Api, method: str) -> None:
    owner, _, name = method.partition(".")
    words = getattr(getattr(rtx.trt, owner), name).__doc__
    assert SIGNATURES[method].format(m=rtx.trt.IRuntimeConfig.__module__) in words


@pytest.mark.parametrize("name", CALLED)
def test_a_fake_has_nothing_that_the_real_class_lacks(rtx: Api, name: str) -> None:
    fake = getattr(faketrt, name)
    own = {"engine_class", "fits", "last", "last_log", "path", "refusal"}
    public = {member for member in vars(fake) if not member.startswith("_")} - own
    assert {member for member in public if not hasattr(getattr(rtx.trt, name), member)} == set()


def test_targets_are_checked(rtx: Api) -> None:
    rtx.check_targets(((8, 6), (8, 9)))
    with pytest.raises(
        ConfigError, match=r"can't build for compute capability 8\.7, 9\.9; it know"
    ):
        rtx.check_targets(((8, 7), (8, 6), (9, 9)))
    with pytest.raises(ConfigError, match=r"say which with --compute-capability, of 7\.5, 8\.0, "):
        rtx.check_targets(())
    api = fake_api("10.3")
    api.check_targets(())
    with pytest.raises(ConfigError, match="builds for the GPU at hand: leave out"):
        api.check_targets(((8, 7),))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ()),
        (["8.6"], ((8, 6),)),
        (["8.6,8.9"], ((8, 6), (8, 9))),
        (["8.6", "8.9 , 12.0"], ((8, 6), (8, 9), (12, 0))),
        (["8.6", "8.6"], ((8, 6),)),
    ],
)
def test_capabilities_in_words(words: list[str], expected: Any) -> None:
    assert parse_capabilities(words) == expected


@pytest.mark.parametrize("word", ["8", "86", "8.", ".6", "8.65", "sm86", "8.6,,8.9", "", "²,6"])
def test_words_that_are_no_capabilities(word: str) -> None:
    with pytest.raises(ConfigError, match=r"written 8\.6, several 8\.6,8\.9; got"):
        parse_capabilities([word])


def test_an_unknown_backend() -> None:
    with pytest.raises(ConfigError, match="one of tensorrt, tensorrt-rtx, got 'abacus'"):
        load_api("abacus")  # type: ignore[arg-type]


def test_an_absent_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'adcopilot-edge\[tensorrt\]'"):
        load_api("tensorrt")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ImportError('libnvinfer.so.10: cannot open shared object file')", "libnvinfer"),
        ("import a_part_of_it", "No module named 'a_part_of_it'"),
    ],
)
def test_a_package_that_does_not_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    (tmp_path / "tensorrt.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(ProviderUnavailableError, match=f"does not load: .*{reason}"):
        load_api("tensorrt")


@pytest.mark.parametrize("version", ["8.6.1.6", "10.2.0"])
def test_a_package_that_is_too_old(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    module = ModuleType("tensorrt")
    module.__version__ = version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    with pytest.raises(ConfigError, match=rf"{version} is too old, 10\.3 is needed"):
        load_api("tensorrt")


def test_a_package_that_does_not_start() -> None:
    api = fake_api("10.3")

    def fail(log: Any) -> None:
        log.log(api.trt.ILogger.Severity.ERROR, "CUDA initialization failure.\n")
        log.log(api.trt.ILogger.Severity.WARNING, "nothing of interest")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    api.trt.Builder = fail
    with pytest.raises(ProviderUnavailableError, match="here: CUDA initialization failure"):
        start(api, "Builder", open_log(api))


def test_a_log_keeps_errors_only_and_begins_anew(rtx: Api) -> None:
    log, severities = open_log(rtx), rtx.trt.ILogger.Severity
    assert log.said() == "it gives no reason"
    for severity in (severities.ERROR, severities.ERROR):
        log.log(severity, "it broke\n  here.")
    log.log(severities.INFO, "it goes on")
    assert log.said() == "it broke here"
    assert open_log(rtx) is log
    assert log.said() == "it gives no reason"


def test_loading_the_real_package_warns_of_nothing(rtx: Api) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_api("tensorrt-rtx") == rtx
