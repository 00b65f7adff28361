"""How many threads compute one operator, whether they wait busily, and on which cores they run.

Knows nothing of which setting is the fastest.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from adcopilot_edge.errors import ConfigError

# Keys of onnxruntime's onnxruntime_session_options_config_keys.h.
_SPINNING = "session.intra_op.allow_spinning"
_AFFINITIES = "session.intra_op_thread_affinities"
_EXACT_PRODUCTS = "session.x64quantprecision"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadSettings:
    """The threads of a session; all defaults are onnxruntime's own choice.

    num_threads: of one operator, the caller's included. spins: whether those of the pool wait for
    work in a busy loop, which starts them faster and takes the cores from other programs. cores:
    the only ones that the pool may use, by the system's numbers from 0; empty for all. The
    caller's own thread stays where the system puts it.

    Raises:
        ConfigError: ``num_threads`` is below 1, or not given beside cores.
    """

    num_threads: int | None = None
    spins: bool = True
    cores: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.num_threads is not None and self.num_threads < 1:
            raise ConfigError(f"num_threads must be at least 1, got {self.num_threads}")
        if self.cores and (self.num_threads is None or min(self.cores) < 0):
            raise ConfigError("cores are numbered from 0 and need a number of threads")

    def words(self) -> str:
        """The setting, for people."""
        if self.num_threads is None:
            text = "onnxruntime's choice of threads"
        else:
            text = f"{self.num_threads} thread{'s' if self.num_threads > 1 else ''}"
        if not self.spins:
            text += ", not spinning"
        if self.cores:
            text += f", on cores {' '.join(map(str, self.cores))}"
        return text

    def apply(self, options: Any) -> None:
        """Set the threads of onnxruntime's SessionOptions."""
        if self.num_threads is not None:
            options.intra_op_num_threads = self.num_threads
        if not self.spins:
            options.add_session_config_entry(_SPINNING, "0")
        if self.cores and self.num_threads is not None and self.num_threads > 1:
            # For each thread of the pool the set of its cores, numbered from 1; the caller's
            # thread is none of the pool.
            cores = ",".join(str(core + 1) for core in self.cores)
            affinities = ";".join([cores] * (self.num_threads - 1))
            options.add_session_config_entry(_AFFINITIES, affinities)


# A number of threads alone, or all about them; None is onnxruntime's own choice.
Threads = int | ThreadSettings | None


def as_settings(threads: Threads) -> ThreadSettings:
    """All about the threads, where maybe a number alone was given. Raises ConfigError."""
    return threads if isinstance(threads, ThreadSettings) else ThreadSettings(num_threads=threads)


def session_options(
    ort: ModuleType, path: Path, threads: Threads, *, has_fixed_shapes: bool
) -> Any:
    """Options of a session: quiet, its threads, and a memory plan only where it can be reused.

    INT8 products are exact on every processor. On one with AVX2 and no VNNI onnxruntime would add
    pairs of products in 16 bits, where large ones saturate without a word; elsewhere the setting
    changes nothing. Graphs in the form of engines (QDQ) can't have it: it breaks weights with a
    scale for each output.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors; warnings of the graph optimiser are not for users
    options.enable_mem_pattern = has_fixed_shapes  # else one plan is kept for each shape seen
    if not _contains(path, b"DequantizeLinear"):
        options.add_session_config_entry(_EXACT_PRODUCTS, "1")
    as_settings(threads).apply(options)
    return options


def _contains(path: Path, name: bytes) -> bool:
    """Whether a file, which may be large, has these bytes; False for one that can't be read."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            return view.find(name) >= 0
    except (OSError, ValueError):  # whoever opens it next says why
        return False
