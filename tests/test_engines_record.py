"""The record of an engine, and which engine fits a bundle and a machine."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import faketrt
import pytest
from toy import write_toy_bundle

from adcopilot_edge.bundle import Bundle, list_files, new_bundle, open_bundle, write_manifest
from adcopilot_edge.errors import EngineError
from adcopilot_edge.runtime.cuda import Gpu
from adcopilot_edge.runtime.engines.api import Api
from adcopilot_edge.runtime.engines.record import (
    engine_folder,
    engine_path,
    find_engine,
    graph_hash,
    read_record,
    record_path,
    write_record,
)

ORIN = Gpu("Orin", (8, 7))
RTX = Gpu("GeForce RTX 3060", (8, 6))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_toy_bundle(tmp_path / "bundle")


@pytest.fixture
def api() -> Api:
    return Api("tensorrt", faketrt.fake_module("10.3"))


def put_engine(bundle: Bundle, folder: str = "tensorrt-10.3.0-sm87", **changes: Any) -> Path:
    """An engine for an Orin on TensorRT 10.3, with ``changes`` to its record."""
    engine = bundle.path / "engines" / folder / "vision.engine"
    engine.parent.mkdir(parents=True, exist_ok=True)
    engine.write_bytes(b"engine")
    fields = {
        "graph": "vision",
        "graph_sha256": graph_hash(bundle, "vision"),
        "precision": "fp16",
        "products": {"fp16": 1},
        "size_bytes": 6,
        "sha256": "0" * 64,
    }
    write_record(engine, faketrt.orin_record(**{**fields, **changes}))
    return engine


def test_where_engines_are(bundle: Bundle) -> None:
    folder = engine_folder(bundle, "tensorrt-rtx", "1.7.1.116", ((8, 6), (12, 0)))
    assert folder == bundle.path / "engines" / "tensorrt-rtx-1.7.1.116-sm86-sm120"
    assert engine_path(folder, "vision") == folder / "vision.engine"
    assert record_path(folder / "vision.engine") == folder / "vision.engine.json"


def test_a_record_is_read_as_it_was_written(bundle: Bundle) -> None:
    engine = put_engine(bundle)
    record = read_record(engine)
    assert record.graph_sha256 == graph_hash(bundle, "vision")
    assert record.built_at == datetime(2026, 11, 24, tzinfo=timezone.utc)
    content = record_path(engine).read_bytes()
    write_record(engine, record)
    assert record_path(engine).read_bytes() == content


def test_the_engine_that_fits(bundle: Bundle, api: Api) -> None:
    put_engine(bundle, "tensorrt-10.2.0-sm87", version="10.2.0")
    engine = put_engine(bundle)
    found, record = find_engine(bundle, "vision", api, ORIN)
    assert (found, record.version) == (engine, "10.3.0")


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"graph_sha256": "1" * 64}, "was built from another graph"),
        ({"graph": "comparison"}, "was built from another graph"),
        ({"version": "10.2.0"}, r"built with tensorrt 10\.2\.0, tensorrt 10\.3\.0 is installed"),
        ({"backend": "tensorrt-rtx"}, r"built with tensorrt-rtx 10\.3\.0, tensorrt 10\.3\.0 is"),
        ({"compute_capabilities": ("8.6", "8.9")}, r"capability 8\.6, 8\.9, Orin has 8\.7"),
        ({"gpu": "Orin Nano"}, "was tuned on Orin Nano, this is Orin"),
    ],
)
def test_an_engine_that_does_not_fit(
    bundle: Bundle, api: Api, changes: dict[str, Any], finding: str
) -> None:
    put_engine(bundle, **changes)
    with pytest.raises(EngineError, match=finding) as caught:
        find_engine(bundle, "vision", api, ORIN)
    assert f"Build it with: adcopilot-edge build {bundle.path} --backend tensorrt" in str(
        caught.value
    )


def test_all_findings_come_at_once(bundle: Bundle, api: Api) -> None:
    put_engine(bundle, "a", graph_sha256="1" * 64, version="10.2.0", gpu="Xavier")
    put_engine(bundle, "b", compute_capabilities=("8.6",))
    with pytest.raises(EngineError) as caught:
        find_engine(bundle, "vision", api, ORIN)
    message = str(caught.value)
    assert "engines/a/vision.engine was built from another graph and was built with" in message
    assert "and was tuned on Xavier, this is Orin; engines/b/vision.engine is for" in message


def test_no_engine(bundle: Bundle) -> None:
    api = Api("tensorrt-rtx", faketrt.fake_module("rtx"))
    with pytest.raises(EngineError, match="engines has none") as caught:
        find_engine(bundle, "vision", api, RTX)
    command = f"adcopilot-edge build {bundle.path} --backend tensorrt-rtx --compute-capability 8.6"
    assert str(caught.value).endswith(command)


def test_an_engine_by_name_fits_any_gpu_of_its_capability(bundle: Bundle) -> None:
    api = Api("tensorrt-rtx", faketrt.fake_module("rtx"))
    engine = put_engine(
        bundle,
        backend="tensorrt-rtx",
        version=api.version,
        gpu=None,
        compute_capabilities=("8.6", "8.9"),
    )
    assert find_engine(bundle, "vision", api, RTX)[0] == engine


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no record of an engine: see Invalid JSON"),
        (b"{}", "no record of an engine: see graph, graph_sha256, precision"),
        (None, "can't be read: No such file"),
    ],
)
def test_a_damaged_record_hides_no_other_engine(
    bundle: Bundle, api: Api, content: bytes | None, reason: str
) -> None:
    damaged = put_engine(bundle, "a")
    record_path(damaged).unlink()
    if content is not None:
        record_path(damaged).write_bytes(content)
    with pytest.raises(EngineError, match=reason):
        find_engine(bundle, "vision", api, ORIN)
    engine = put_engine(bundle, "b")
    assert find_engine(bundle, "vision", api, ORIN)[0] == engine


def test_the_hash_is_of_the_graph_and_its_weights(bundle: Bundle) -> None:
    before = graph_hash(bundle, "vision"), graph_hash(bundle, "decoder")
    bundle.file("vision.onnx.data").write_bytes(b"weights")
    files = list_files(bundle.path)
    write_manifest(bundle.path, bundle.manifest.model_copy(update={"files": files}))
    after = open_bundle(bundle.path)
    assert graph_hash(after, "vision") != before[0]
    assert graph_hash(after, "decoder") == before[1]


def test_engines_are_no_part_of_a_bundle_and_go_with_it(bundle: Bundle) -> None:
    put_engine(bundle)
    assert open_bundle(bundle.path).id == bundle.id  # hashes every file of the manifest
    with new_bundle(bundle.path) as folder:
        for name in (*bundle.manifest.files, "manifest.json"):
            (folder / name).write_bytes(bundle.file(name).read_bytes())
    assert open_bundle(bundle.path).id == bundle.id
    assert not (bundle.path / "engines").exists()
