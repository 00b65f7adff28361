"""Thread settings on disk: where they lie, and which ones a bundle is opened with.

Beside a bundle there is one file for each kind of machine, in ``threads/``, outside the manifest:
they are measured where the bundle runs and change no result, only times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from adcopilot_edge.bundle import Bundle
from adcopilot_edge.errors import StateError
from adcopilot_edge.runtime.cores import allowed_cores
from adcopilot_edge.runtime.machine import cpu_model
from adcopilot_edge.runtime.ort import load_onnxruntime
from adcopilot_edge.runtime.state_file import StateKind
from adcopilot_edge.runtime.thread_state import Machine, ThreadState
from adcopilot_edge.runtime.threads import Threads, ThreadSettings, as_settings

FOLDER = "threads"
DAMAGED = "thread_settings_damaged"
OUTDATED = "thread_settings_outdated"
_REPAIR = "Measure again with: adcopilot-edge doctor --tune, or remove the file"
THREADS = StateKind(
    record=ThreadState,
    what="thread settings",
    repair=_REPAIR,
    reading="Check the path, or measure with: adcopilot-edge doctor --tune",
    writing=(
        "Check the permissions and the free space, or name another file with --out, which "
        "--threads takes"
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadsInUse:
    """What a bundle was opened with.

    state: the id of the stored settings that these are, None where none are in use. notes: what
    every inspection tells: that stored settings are not in use, and why.
    """

    settings: ThreadSettings = field(default_factory=ThreadSettings)
    state: str | None = None
    notes: tuple[str, ...] = ()

    def words(self) -> str:
        """The settings, for people."""
        return self.settings.words() + ("" if self.state is None else f" (tuned, {self.state})")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredThreads:
    """A file of settings. state: None where it is damaged. problem: why it is not used here."""

    path: Path
    state: ThreadState | None
    problem: str | None


def this_machine() -> Machine:
    """The machine as settings know it. Raises MissingExtraError without onnxruntime."""
    return Machine(
        cpu=cpu_model(),
        num_cores=len(allowed_cores()),
        onnxruntime=load_onnxruntime().__version__,
    )


def state_path(bundle: Bundle, machine: Machine) -> Path:
    """Where the settings of a machine lie beside a bundle."""
    return bundle.path / FOLDER / f"{machine.id}.json"


def choose_threads(bundle: Bundle, provider: str, wanted: Threads | Path) -> ThreadsInUse:
    """The thread settings to open a bundle with.

    Settings beside the bundle that are damaged or of other machines are passed over, since they
    change no result, and noted.

    Args:
        bundle: The bundle.
        provider: Where it runs; settings are measured on ``cpu`` and used there only.
        wanted: A number or settings win over all that is stored; a file has to fit; None takes
            what lies beside the bundle for this machine.

    Raises:
        ConfigError: The number is below 1.
        StateError: A file that was named is missing, damaged, or of another bundle or machine.
    """
    if isinstance(wanted, Path):
        state = THREADS.read(wanted)
        state.check_fits(bundle.id, this_machine(), allowed_cores())
        return ThreadsInUse(settings=state.settings, state=state.id)
    if wanted is not None or provider != "cpu" or not any(_files(bundle)):
        return ThreadsInUse(settings=as_settings(wanted))
    machine = this_machine()
    path = state_path(bundle, machine)
    if not path.exists():
        return ThreadsInUse(notes=(OUTDATED,))
    try:
        state = THREADS.read(path)
    except StateError:
        return ThreadsInUse(notes=(DAMAGED,))
    if state.misfits(bundle.id, machine, allowed_cores()):
        return ThreadsInUse(notes=(OUTDATED,))
    return ThreadsInUse(settings=state.settings, state=state.id)


def stored_threads(bundle: Bundle) -> list[StoredThreads]:
    """All settings beside a bundle. Raises MissingExtraError without onnxruntime."""
    return [_stored(path, bundle) for path in sorted(_files(bundle))]


def _files(bundle: Bundle) -> Iterator[Path]:
    return (bundle.path / FOLDER).glob("[!.]*.json")


def _stored(path: Path, bundle: Bundle) -> StoredThreads:
    try:
        state = THREADS.read(path)
    except StateError as err:
        return StoredThreads(path=path, state=None, problem=str(err))
    misfits = state.misfits(bundle.id, this_machine(), allowed_cores())
    return StoredThreads(path=path, state=state, problem="; ".join(misfits) or None)
