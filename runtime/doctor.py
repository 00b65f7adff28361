"""The state of this machine: versions, processor, memory, providers that really run a graph.

Asks the operating system's files only, and on a Jetson ``nvpmodel``; what is absent is left out.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np

import adcopilot_edge
from adcopilot_edge.bundle import Bundle, open_bundle
from adcopilot_edge.embedded import embedded_bundle
from adcopilot_edge.errors import BundleError, EdgeError, MissingExtraError
from adcopilot_edge.runtime.cores import allowed_cores
from adcopilot_edge.runtime.machine import cpu_model, read_text
from adcopilot_edge.runtime.ort import load_onnxruntime
from adcopilot_edge.runtime.session import PROVIDER_CLASSES, GraphSession
from adcopilot_edge.runtime.thread_store import StoredThreads, stored_threads

PACKAGES = (
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "pillow",
    "pydantic",
    "safetensors",
    "tensorrt",
    "tensorrt-rtx",
    "tokenizers",
    "typer",
)
ProviderState = Literal["works", "fails", "absent", "not tried"]

_NVPMODEL_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class ProviderReport:
    """A provider: ``works`` when it ran a graph, ``not tried`` when there was none to run."""

    name: str
    state: ProviderState


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """What ``examine_machine`` found.

    machine: facts by name, in words. packages: versions by name. bundle: the id of the embedded
    bundle when all its hashes match, else None. problems: what does not work, and why. threads:
    the thread settings that are stored for the bundle.
    """

    machine: dict[str, str]
    packages: dict[str, str]
    bundle: str | None
    providers: tuple[ProviderReport, ...]
    problems: tuple[str, ...]
    threads: tuple[StoredThreads, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The report as the object that ``doctor --json`` prints."""
        return {
            "machine": self.machine,
            "packages": self.packages,
            "bundle": self.bundle,
            "providers": {provider.name: provider.state for provider in self.providers},
            "threads": [
                {
                    "path": str(it.path),
                    "state": None if it.state is None else it.state.to_json(),
                    "used": it.problem is None,
                    "problem": it.problem,
                }
                for it in self.threads
            ],
            "problems": list(self.problems),
        }


def examine_machine(root: Path = Path("/"), bundle_path: Path | None = None) -> DoctorReport:
    """Return the state of this machine.

    Args:
        root: Where the system's files are.
        bundle_path: The bundle to check and to try providers with; None is the embedded one.
    """
    problems: list[str] = []
    bundle: Bundle | None = None
    try:
        bundle = open_bundle(bundle_path or embedded_bundle())
    except BundleError as err:
        problems.append(str(err))
    providers = _try_providers(bundle, problems)
    can_run = any(provider.state != "absent" for provider in providers)
    return DoctorReport(
        machine=dict(machine_facts(root)),
        packages=package_versions(),
        bundle=bundle.id if bundle else None,
        providers=providers,
        problems=tuple(problems),
        threads=tuple(stored_threads(bundle)) if bundle and can_run else (),
    )


def package_versions() -> dict[str, str]:
    """The versions of the device side's packages, of those that are installed."""
    found = {name: list(metadata.distributions(name=name)) for name in PACKAGES}
    installed = {name: copies[0].version for name, copies in found.items() if copies}
    return {"adcopilot-edge": adcopilot_edge.__version__, **installed}


def _try_providers(bundle: Bundle | None, problems: list[str]) -> tuple[ProviderReport, ...]:
    """Run a graph on each provider; what fails is added to ``problems``."""
    try:
        available = load_onnxruntime().get_available_providers()
    except MissingExtraError as err:
        problems.append(str(err))
        available = []
    return tuple(
        ProviderReport(name, _try_provider(name, bundle, problems))
        if provider_class in available
        else ProviderReport(name, "absent")
        for name, provider_class in PROVIDER_CLASSES.items()
    )


def _try_provider(name: str, bundle: Bundle | None, problems: list[str]) -> ProviderState:
    if bundle is None:
        return "not tried"
    graphs = bundle.manifest.graphs
    graph = graphs["comparison"] if "comparison" in graphs else graphs["vision"]
    try:
        session = GraphSession(bundle.file(graph.file), provider=name)
        session.run(
            {
                spec.name: np.zeros([length or 1 for length in spec.shape], spec.dtype)
                for spec in session.inputs.values()
            }
        )
    except EdgeError as err:
        problems.append(f"provider {name}: {err}")
        return "fails"
    return "works"


def machine_facts(root: Path) -> Iterator[tuple[str, str]]:
    """Names and values of what can be said about the machine."""
    yield "python", platform.python_version()
    yield "system", f"{platform.system()} {platform.release()} {platform.machine()}"
    yield "cpu", cpu_model(root)
    yield "cores", str(len(allowed_cores()))
    if memory := re.search(
        r"^MemAvailable:\s+(\d+) kB", read_text(root / "proc/meminfo"), re.MULTILINE
    ):
        yield "memory", f"{int(memory[1]) // 1024} MiB available"
    if board := read_text(root / "proc/device-tree/model").strip("\0\n "):
        yield "board", board
    if release := read_text(root / "etc/nv_tegra_release").partition("\n")[0].strip("# "):
        yield "jetson", release
        yield "power", _power_mode()


def _power_mode() -> str:
    """What ``nvpmodel -q`` says, or why it says nothing."""
    if (program := shutil.which("nvpmodel")) is None:
        return "unknown: nvpmodel is not installed"
    try:
        done = subprocess.run(
            [program, "-q"],
            capture_output=True,
            text=True,
            check=True,
            timeout=_NVPMODEL_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError) as err:
        return f"unknown: {err}"
    return ", ".join(done.stdout.split("\n")).strip(", ")
