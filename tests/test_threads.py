"""Thread settings: what onnxruntime is told, what is stored, and which ones a bundle goes by."""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from adcopilot_edge.bundle import Bundle, open_bundle
from adcopilot_edge.errors import ConfigError, StateError
from adcopilot_edge.runtime import thread_store
from adcopilot_edge.runtime.cores import core_groups
from adcopilot_edge.runtime.doctor import examine_machine
from adcopilot_edge.runtime.inspector import Inspector
from adcopilot_edge.runtime.session import GraphSession
from adcopilot_edge.runtime.thread_state import Machine, ThreadState
from adcopilot_edge.runtime.thread_store import (
    DAMAGED,
    OUTDATED,
    THREADS,
    choose_threads,
    state_path,
    this_machine,
)
from adcopilot_edge.runtime.threads import ThreadSettings, session_options

HERE = frozenset({0, 1, 2, 3})


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine of four cores, whatever the tests run on."""
    monkeypatch.setattr(thread_store, "allowed_cores", lambda: HERE)
    monkeypatch.setattr(thread_store, "cpu_model", lambda: "Toy CPU")
    return this_machine()


def state(bundle: str, machine: Machine, **changes: Any) -> ThreadState:
    values: dict[str, Any] = {
        "created_by": "adcopilot-edge 0",
        "created_at": datetime(2026, 11, 25, tzinfo=timezone.utc),
        "bundle": bundle,
        "machine": machine,
        "num_threads": 1,
        "verdict_ms": 8.0,
        "default_ms": 10.0,
        "ratio": 0.8,
        "ratio_interval": (0.75, 0.85),
        "num_rounds": 20,
        **changes,
    }
    return ThreadState(**values)


@pytest.fixture
def bundle(damaged_bundle: Path) -> Bundle:
    """A toy bundle that a test may change."""
    return open_bundle(damaged_bundle)


def entry(options: Any, key: str) -> str | None:
    try:
        return str(options.get_session_config_entry(f"session.{key}"))
    except RuntimeError:
        return None


def told(threads: Any) -> tuple[int, str | None, str | None]:
    options = session_options(onnxruntime, Path(__file__), threads, has_fixed_shapes=True)
    names = ("intra_op.allow_spinning", "intra_op_thread_affinities")
    return (options.intra_op_num_threads, *(entry(options, name) for name in names))


@pytest.mark.parametrize(
    ("threads", "expected"),
    [
        (None, (0, None, None)),
        (3, (3, None, None)),
        (ThreadSettings(), (0, None, None)),
        (ThreadSettings(num_threads=2, spins=False), (2, "0", None)),
        (ThreadSettings(num_threads=3, cores=(0, 2)), (3, None, "1,3;1,3")),
        (ThreadSettings(num_threads=1, cores=(0,)), (1, None, None)),
    ],
)
def test_what_onnxruntime_is_told(threads, expected) -> None:
    assert told(threads) == expected


@pytest.mark.parametrize("values", [{"num_threads": 0}, {"cores": (0,)}])
def test_no_settings(values) -> None:
    with pytest.raises(ConfigError, match="threads"):
        ThreadSettings(**values)
    with pytest.raises(ValueError, match="threads"):
        state("b" * 16, this_machine(), **{"num_threads": None, **values})


def test_a_graph_computes_the_same_under_all(toy_bundle: Bundle) -> None:
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    path = toy_bundle.file("comparison.onnx")
    outputs = []
    for settings in (
        ThreadSettings(num_threads=1),
        ThreadSettings(num_threads=2, spins=False),
        ThreadSettings(num_threads=2, cores=(core,)),
    ):
        session = GraphSession(path, num_threads=settings)
        feeds = {
            spec.name: np.full([length or 1 for length in spec.shape], 0.5, spec.dtype)
            for spec in session.inputs.values()
        }
        outputs.append(session.run(feeds))
    for other in outputs[1:]:
        for name, array in outputs[0].items():
            np.testing.assert_allclose(
                other[name], array, rtol=1e-5
            )  # the order of sums may differ


def test_stored_settings_are_used(bundle: Bundle, machine: Machine) -> None:
    stored = state(bundle.id, machine, num_threads=2, spins=False)
    THREADS.write(state_path(bundle, machine), stored)
    engine = Inspector.open(bundle.path).engine
    assert engine.threads.settings == ThreadSettings(num_threads=2, spins=False)
    assert engine.threads.state == stored.id
    assert engine.notes == ()
    assert open_bundle(bundle.path).id == bundle.id  # hashes too


def test_explicit_threads_win(bundle: Bundle, machine: Machine) -> None:
    THREADS.write(state_path(bundle, machine), state(bundle.id, machine, num_threads=2))
    for wanted in (1, ThreadSettings(num_threads=1)):
        assert choose_threads(bundle, "cpu", wanted).settings == ThreadSettings(num_threads=1)
    own = choose_threads(bundle, "cpu", ThreadSettings())
    assert (own.settings, own.state, own.notes) == (ThreadSettings(), None, ())
    assert choose_threads(bundle, "cuda", None).state is None
    with pytest.raises(ConfigError, match="at least 1"):
        choose_threads(bundle, "cpu", 0)


@pytest.mark.parametrize(
    "other", [{"cpu": "Other CPU"}, {"num_cores": 8}, {"onnxruntime": "1.0.0"}], ids=str
)
def test_settings_of_another_machine_are_noted(
    bundle: Bundle, machine: Machine, other, image_pair
) -> None:
    elsewhere = machine.model_copy(update=other)
    stored = state(bundle.id, elsewhere)
    THREADS.write(state_path(bundle, elsewhere), stored)
    inspector = Inspector.open(bundle.path)
    assert inspector.engine.threads.settings == ThreadSettings()
    assert OUTDATED in inspector.inspect(*image_pair).notes
    THREADS.write(state_path(bundle, machine), stored)  # renamed by hand
    assert choose_threads(bundle, "cpu", None).notes == (OUTDATED,)


def test_settings_that_do_not_fit(bundle: Bundle, machine: Machine) -> None:
    path = state_path(bundle, machine)
    for misfit in (
        state("0" * 16, machine),
        state(bundle.id, machine, num_threads=2, cores=(1, 7)),
    ):
        THREADS.write(path, misfit)
        assert choose_threads(bundle, "cpu", None).notes == (OUTDATED,)
        with pytest.raises(StateError, match=r"not for this: .*doctor --tune"):
            choose_threads(bundle, "cpu", path)


DAMAGES = {
    "empty": lambda text: "",
    "cut": lambda text: text[: len(text) // 2],
    "a list": lambda text: "[]",
    "edited": lambda text: text.replace('"num_threads": 1', '"num_threads": 2'),
    "no thread": lambda text: text.replace('"num_threads": 1', '"num_threads": 0'),
    "another version": lambda text: text.replace('"version": 1', '"version": 2'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_settings_are_noted_and_not_used(
    bundle: Bundle, machine: Machine, damage: str
) -> None:
    path = state_path(bundle, machine)
    THREADS.write(path, state(bundle.id, machine))
    content = path.read_text()
    assert DAMAGES[damage](content) != content
    path.write_text(DAMAGES[damage](content))
    assert Inspector.open(bundle.path).engine.notes == (DAMAGED,)
    with pytest.raises(StateError, match=r"thread settings.*doctor --tune"):
        Inspector.open(bundle.path, num_threads=path)
    (found,) = thread_store.stored_threads(bundle)
    assert found.state is None


def test_a_file_elsewhere(
    bundle: Bundle, machine: Machine, tmp_path: Path, cli, image_pair
) -> None:
    from PIL import Image

    golden, part = tmp_path / "golden.png", tmp_path / "part.png"
    for path, image in zip((golden, part), image_pair, strict=True):
        Image.fromarray(image).save(path)
    file = tmp_path / "threads.json"
    THREADS.write(file, state(bundle.id, machine))
    assert choose_threads(bundle, "cpu", file).settings.num_threads == 1
    words = ["inspect", golden, part, "--bundle", bundle.path, "--json"]
    code, out, _ = cli(*words, "--threads", file)
    assert code == 0
    assert json.loads(out)["notes"] == []
    assert cli(*words, "--threads", tmp_path / "absent.json")[0] == StateError.exit_code
    assert cli(*words, "--threads", 0)[0] == 2


def test_doctor_shows_them(bundle: Bundle, machine: Machine, cli) -> None:
    assert "not tuned" in cli("doctor", bundle.path)[1]
    THREADS.write(state_path(bundle, machine), state(bundle.id, machine))
    elsewhere = machine.model_copy(update={"cpu": "Other CPU"})
    THREADS.write(state_path(bundle, elsewhere), state(bundle.id, elsewhere))
    out = cli("doctor", bundle.path)[1]
    assert "1 thread" in out
    assert ", used" in out
    assert "not used: they were measured on Other CPU" in out
    assert sorted(
        it["used"] for it in examine_machine(bundle_path=bundle.path).to_json()["threads"]
    ) == [
        False,
        True,
    ]


def cores_of(root: Path, facts: dict[str, list[str]]) -> frozenset[int]:
    for name, values in facts.items():
        for core, value in enumerate(values):
            path = root / f"sys/devices/system/cpu/cpu{core}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(value + "\n")
    return frozenset(range(len(next(iter(facts.values())))))


def test_groups_of_cores(tmp_path: Path) -> None:
    big = cores_of(tmp_path / "big", {"cpu_capacity": ["1024", "400", "1024", "400"]})
    assert core_groups(tmp_path / "big", big) == [(0, 2)]
    clocks = cores_of(tmp_path / "c", {"cpufreq/cpuinfo_max_freq": ["2000", "2000", "1000"]})
    assert core_groups(tmp_path / "c", clocks) == [(0, 1)]
    facts = {
        "topology/core_cpus_list": [f"{core},{core + 4}" for core in range(4)] * 2,
        "topology/physical_package_id": ["0", "0", "1", "1"] * 2,
    }
    pairs = cores_of(tmp_path / "pairs", facts)
    assert core_groups(tmp_path / "pairs", pairs) == [(0, 1, 2, 3), (0, 1, 4, 5)]
    assert core_groups(tmp_path / "nothing", frozenset(range(16))) == []
    assert core_groups(tmp_path / "big", frozenset({0})) == []
    shutil.rmtree(tmp_path / "big")
