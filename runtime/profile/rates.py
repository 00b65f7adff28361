"""What this machine can do at best: bytes read and products computed a second, measured.

Each rate is the best of many short runs, since all that disturbs a run makes it slower. Knows
nothing of bundles.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adcopilot_edge.runtime.profile.micrograph import product_graph
from adcopilot_edge.runtime.session import GraphSession
from adcopilot_edge.runtime.tensors import AnyArray

LARGE_BYTES = 256 << 20  # beyond every cache
_SPAN_S = 0.3  # of one measurement
_LEAST_RUNS = 5
_BURST_S = 0.05  # of one try at reading
_CPU_SIDE, _GPU_SIDE = 1024, 4096  # of square matrices: large enough to keep all units busy


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Operations a second: a multiplication and an addition are two. None: could not be measured.

    float_ops: of float32 on a CPU, of float16 on a GPU if that is faster. integer_ops: uint8 by
    int8. memory: bytes a second of a buffer beyond every cache.
    """

    provider: str
    threads: int
    memory: float
    float_ops: float
    integer_ops: float | None

    def to_json(self) -> dict[str, Any]:
        """The rates in giga."""
        return {
            "provider": self.provider,
            "threads": self.threads,
            "memory_gb_s": round(self.memory / 1e9, 2),
            "float_gflop_s": round(self.float_ops / 1e9, 2),
            "int8_gop_s": None if self.integer_ops is None else round(self.integer_ops / 1e9, 2),
        }


def measure_rates(provider: str, num_threads: int | None) -> Rates:
    """The rates of a provider of onnxruntime, with its threads.

    Raises:
        SessionError: It does not run a plain product.
    """
    floats = [_product_rate(provider, num_threads, np.float32)]
    integer = None
    if provider == "cpu":
        integer = _product_rate(provider, num_threads, np.int8)
    else:
        floats.append(_product_rate(provider, num_threads, np.float16))
    return Rates(
        provider=provider,
        threads=_count_threads(num_threads),
        memory=read_rate(LARGE_BYTES, provider, num_threads),
        float_ops=max(floats),
        integer_ops=integer,
    )


def read_rate(num_bytes: int, provider: str, num_threads: int | None) -> float:
    """Bytes a second of reading a buffer of ``num_bytes`` again and again.

    A small one comes from the caches, as a small model's weights do. On a CPU it is a maximum over
    the buffer by numpy, on one thread and on all; on a GPU, where memory that small can't be timed
    apart from the start of a kernel, a product of one row with weights of ``LARGE_BYTES``.
    """
    if provider != "cpu":
        weights = np.zeros((LARGE_BYTES // 4 // _GPU_SIDE, _GPU_SIDE), np.float32)
        run = _product(provider, num_threads, 1, weights)
        return weights.nbytes / _best_s(run)
    return max(_cpu_read_rate(num_bytes, threads) for threads in {1, _count_threads(num_threads)})


def _cpu_read_rate(num_bytes: int, num_threads: int) -> float:
    """Bytes a second of ``num_threads`` threads together, the best of some bursts."""
    parts = np.array_split(np.ones(max(num_bytes // 4, num_threads), np.float32), num_threads)
    return max(_read_burst(parts) for _ in range(round(_SPAN_S / _BURST_S)))


def _read_burst(parts: list[AnyArray]) -> float:
    counts = [0] * len(parts)
    end_s = time.perf_counter() + _BURST_S

    def read(place: int) -> None:
        part = parts[place]
        while time.perf_counter() < end_s:
            np.max(part)
            counts[place] += 1

    threads = [threading.Thread(target=read, args=(place,)) for place in range(len(parts))]
    start_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent_s = time.perf_counter() - start_s
    return sum(count * part.nbytes for count, part in zip(counts, parts, strict=True)) / spent_s


def _product_rate(provider: str, num_threads: int | None, dtype: type[np.generic]) -> float:
    """Operations a second of a large square product."""
    side = _CPU_SIDE if provider == "cpu" else _GPU_SIDE
    weights = np.ones((side, side), dtype)
    run = _product(provider, num_threads, side, weights)
    return 2 * side**3 / _best_s(run)


def _product(
    provider: str, num_threads: int | None, num_rows: int, weights: AnyArray
) -> Callable[[], object]:
    """A product on a provider, ready to run."""
    is_integer = weights.dtype == np.int8
    model = product_graph(num_rows, weights, op_type="MatMulInteger" if is_integer else "MatMul")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "product.onnx"
        path.write_bytes(model)
        session = GraphSession(path, provider=provider, num_threads=num_threads)
    rows = np.ones((num_rows, weights.shape[0]), np.uint8 if is_integer else weights.dtype)
    return lambda: session.run({"rows": rows})


def _best_s(run: Callable[[], object]) -> float:
    """The shortest of the runs that fit into the span, of five at least; the first is apart."""
    run()
    times_s: list[float] = []
    while len(times_s) < _LEAST_RUNS or sum(times_s) < _SPAN_S:
        start_s = time.perf_counter()
        run()
        times_s.append(time.perf_counter() - start_s)
    return min(times_s)


def _count_threads(num_threads: int | None) -> int:
    """Threads of one operator; onnxruntime's own choice is a thread a core of this process."""
    if num_threads is not None:
        return num_threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
