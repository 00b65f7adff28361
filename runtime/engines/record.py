"""What an engine was built from and for, kept beside it; whether it fits a bundle and a machine.

An engine is opaque and fits one release on one kind of GPU. Its record says which, so that a
misfit is told before anything is loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from adcopilot_edge.atomic import atomic_write
from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import EngineError
from adcopilot_edge.manifest import GraphName
from adcopilot_edge.record import Precision, Record
from adcopilot_edge.runtime.cuda import Gpu
from adcopilot_edge.runtime.engines.api import Api, Backend, Capability, format_capabilities

FOLDER = "engines"
# TensorRT reads the vision side; the decoder runs on onnxruntime.
ENGINE_GRAPHS: tuple[GraphName, ...] = ("vision", "comparison")


class EngineRecord(Record):
    """The record of one engine.

    graph_sha256: of the graph and its weights, see ``graph_hash``. products: how many matrix
    products compute in ``int8``, ``fp16`` and ``fp32``. gpu: the name of the GPU that it was built
    on, None for one built by name. compute_capabilities: as ``8.7``. streams_weights, is_stripped:
    what it was built with; a stripped engine takes its weights from the bundle. size_bytes, sha256:
    of the engine's file.
    """

    format: Literal["adcopilot-edge-engine"] = "adcopilot-edge-engine"
    graph: GraphName
    graph_sha256: str
    precision: Precision
    products: dict[str, int]
    backend: Backend
    version: str
    gpu: str | None
    compute_capabilities: tuple[str, ...]
    streams_weights: bool
    is_stripped: bool
    workspace_bytes: int | None
    built_at: datetime
    build_seconds: float
    size_bytes: int
    sha256: str


def graph_hash(bundle: Bundle, graph: GraphName) -> str:
    """A hash over a graph and its weights, from the manifest's own hashes."""
    file = bundle.manifest.graphs[graph].file
    parts = [
        f"{name}:{entry.sha256}"
        for name, entry in sorted(bundle.manifest.files.items())
        if name in (file, f"{file}.data")
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def engine_folder(
    bundle: Bundle, backend: Backend, version: str, capabilities: Sequence[Capability]
) -> Path:
    """Where engines go: ``engines/tensorrt-10.3.0-sm87`` in the bundle."""
    words = "-".join(f"sm{major}{minor}" for major, minor in capabilities)
    return bundle.path / FOLDER / f"{backend}-{version}-{words}"


def engine_path(folder: Path, graph: GraphName) -> Path:
    """The engine's file; its record lies beside it."""
    return folder / f"{graph}.engine"


def record_path(engine: Path) -> Path:
    """The record's file."""
    return engine.with_suffix(".engine.json")


def write_record(engine: Path, record: EngineRecord) -> None:
    """Write the record of ``engine`` beside it."""
    with atomic_write(record_path(engine)) as file:
        file.write(json.dumps(record.model_dump(mode="json"), indent=1).encode() + b"\n")


def read_record(engine: Path) -> EngineRecord:
    """Read the record of ``engine``. Raises EngineError."""
    path = record_path(engine)
    try:
        return EngineRecord.model_validate_json(path.read_bytes())
    except OSError as err:
        raise EngineError(f"{path} can't be read: {err.strerror or err}") from err
    except ValidationError as err:
        wrong = ", ".join(".".join(map(str, item["loc"])) or item["msg"] for item in err.errors())
        raise EngineError(f"{path} is no record of an engine: see {wrong}") from err


def find_engine(bundle: Bundle, graph: GraphName, api: Api, gpu: Gpu) -> tuple[Path, EngineRecord]:
    """The engine of ``graph`` that fits the installed release and the GPU.

    Raises:
        EngineError: There is none; with what is wrong with each that is there.
    """
    findings: list[str] = []
    for engine in sorted((bundle.path / FOLDER).glob(f"*/{graph}.engine")):
        try:
            record = read_record(engine)
        except EngineError as err:
            findings.append(str(err))
            continue
        misfits = list(_misfits(record, bundle, graph, api, gpu))
        if not misfits:
            return engine, record
        findings.append(f"{engine.relative_to(bundle.path)} {' and '.join(misfits)}")
    what = "; ".join(findings) or f"{bundle.path / FOLDER} has none"
    raise EngineError(
        f"no engine for the {graph} graph: {what}. Build it with: {build_command(bundle, api, gpu)}"
    )


def build_command(bundle: Bundle, api: Api, gpu: Gpu) -> str:
    """The command that builds the engines of ``bundle`` for this machine."""
    command = f"adcopilot-edge build {bundle.path} --backend {api.backend}"
    if api.names_targets:
        command += f" --compute-capability {format_capabilities([gpu.capability])}"
    return command


def _misfits(
    record: EngineRecord, bundle: Bundle, graph: GraphName, api: Api, gpu: Gpu
) -> Iterator[str]:
    """Why an engine can't serve here."""
    if record.graph != graph or record.graph_sha256 != graph_hash(bundle, graph):
        yield "was built from another graph"
    if (record.backend, record.version) != (api.backend, api.version):
        yield (
            f"was built with {record.backend} {record.version}, {api.backend} {api.version} is "
            "installed"
        )
    capability = format_capabilities([gpu.capability])
    if capability not in record.compute_capabilities:
        yield (
            f"is for compute capability {', '.join(record.compute_capabilities)}, {gpu.name} has "
            f"{capability}"
        )
    elif record.gpu is not None and record.gpu != gpu.name:
        yield f"was tuned on {record.gpu}, this is {gpu.name}"
