"""Which thread settings were found the fastest for one bundle on one machine.

Knows nothing of files: :mod:`adcopilot_edge.runtime.thread_store`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from pydantic import Field, model_validator

from adcopilot_edge.errors import StateError
from adcopilot_edge.record import Record
from adcopilot_edge.runtime.threads import ThreadSettings


class Machine(Record):
    """What decides which settings are the fastest. num_cores: those that the process may use."""

    cpu: str
    num_cores: int = Field(gt=0)
    onnxruntime: str

    @property
    def id(self) -> str:
        """A hash over all of it."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def words(self) -> str:
        """The machine, for people."""
        return f"{self.cpu}, {self.num_cores} cores, onnxruntime {self.onnxruntime}"


class ThreadState(Record):
    """The thread settings of one bundle on one kind of machine, and what they gain.

    num_threads, spins, cores: as for ``ThreadSettings``; all defaults where nothing was faster.
    verdict_ms, default_ms: medians of a verdict under these and under onnxruntime's own settings.
    ratio: median over paired rounds of the one by the other, below 1 faster; ratio_interval: its
    95 % interval.
    """

    format: Literal["adcopilot-edge-threads"] = "adcopilot-edge-threads"
    version: Literal[1] = 1
    created_by: str
    created_at: datetime
    bundle: str
    machine: Machine
    num_threads: int | None = Field(default=None, ge=1)
    spins: bool = True
    cores: tuple[int, ...] = ()
    verdict_ms: float = Field(gt=0)
    default_ms: float = Field(gt=0)
    ratio: float = Field(gt=0)
    ratio_interval: tuple[float, float]
    num_rounds: int = Field(gt=0)

    @model_validator(mode="after")
    def _check_settings(self) -> ThreadState:
        assert self.settings is not None  # it raises where they make no sense
        return self

    @property
    def id(self) -> str:
        """A hash over all of the state."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def settings(self) -> ThreadSettings:
        """The settings that were chosen."""
        return ThreadSettings(num_threads=self.num_threads, spins=self.spins, cores=self.cores)

    def to_json(self) -> dict[str, Any]:
        """The state as a JSON object, its id in front."""
        return {"id": self.id, **self.model_dump(mode="json")}

    def misfits(self, bundle: str, machine: Machine, cores: frozenset[int]) -> list[str]:
        """Every way in which the state is not of this bundle and machine; none: it fits.

        Args:
            bundle: The bundle's id.
            machine: The one it is to run on.
            cores: The cores that this process may use, by the system's numbers.
        """
        return list(self._misfits(bundle, machine, cores))

    def check_fits(self, bundle: str, machine: Machine, cores: frozenset[int]) -> None:
        """Raise StateError where the state is not of this bundle and machine."""
        if misfits := self.misfits(bundle, machine, cores):
            raise StateError(
                f"the thread settings {self.id} are not for this: {'; '.join(misfits)}. Measure "
                "here with: adcopilot-edge doctor --tune"
            )

    def _misfits(self, bundle: str, machine: Machine, cores: frozenset[int]) -> Iterator[str]:
        if self.bundle != bundle:
            yield f"they were measured with the bundle {self.bundle}, this is {bundle}"
        if self.machine != machine:
            yield f"they were measured on {self.machine.words()}, this is {machine.words()}"
        if lacking := sorted({*self.cores} - cores):
            yield f"this process may not use the cores {' '.join(map(str, lacking))}"
