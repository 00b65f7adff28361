"""To which level each weight of a block is rounded: the methods that onnxruntime has for it.

``rtn`` rounds to the nearest level; ``k-quant`` and ``hqq`` look for a scale and a zero point with
less error of the weights. All work on rows of a layer, so that one chunk of it is in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime.capi._pybind_state import quantize_matmul_4bits, quantize_matmul_8bits
from onnxruntime.quantization.neural_compressor.weight_only import quant_tensor_k_quant_cpu

from adcopilot_edge.export.weights import Linear
from adcopilot_edge.types import FloatArray

Bits = Literal[4, 8]
Levels = NDArray[np.uint8]
# k-quant holds about ten arrays of the size of what it is given.
_K_QUANT_VALUES = 1 << 21


@dataclass(frozen=True, slots=True)
class Blocks:
    """Rows of a layer in blocks along the input.

    levels: (n, blocks, block_size * bits / 8) uint8, two levels of 4 bits a byte, low half first.
    scales: (n, blocks) float32. zeros: (n, ceil(blocks * bits / 8)) uint8, packed alike, or
    (n, blocks) float32.
    """

    levels: Levels
    scales: FloatArray
    zeros: Levels | FloatArray


class Rounding(Protocol):
    """A method of choosing levels."""

    @property
    def has_float_zeros(self) -> bool:
        """Whether the zero points are no levels but numbers between them."""
        ...

    def quantize(self, rows: FloatArray, layer: Linear, bits: Bits, block_size: int) -> Blocks:
        """Blocks of ``rows`` (n, inputs), some rows of ``layer``."""
        ...


@dataclass(frozen=True, slots=True)
class RoundToNearest:
    """Scale and zero point from the smallest and the largest weight of a block."""

    has_float_zeros: ClassVar[bool] = False

    def quantize(self, rows: FloatArray, layer: Linear, bits: Bits, block_size: int) -> Blocks:
        """See :class:`Rounding`."""
        del layer
        outputs, inputs = rows.shape
        blocks = -(-inputs // block_size)
        # torch transposes in tiles, numpy value by value, which took half of a decoder's export.
        columns = torch.from_numpy(_padded(rows, block_size)).T.contiguous().numpy()
        levels = np.zeros((outputs, blocks, block_size * bits // 8), np.uint8)
        scales = np.zeros((outputs, blocks), np.float32)
        zeros = np.zeros((outputs, -(-blocks * bits // 8)), np.uint8)
        run = quantize_matmul_4bits if bits == 4 else quantize_matmul_8bits
        run(levels, columns, scales, zeros, block_size, outputs, inputs, False)
        return Blocks(levels, scales, zeros)


@dataclass(frozen=True, slots=True)
class KQuant:
    """The scale and the zero point with the least weighted squared error, as llama.cpp's K-quants.

    Large weights count more.
    """

    has_float_zeros: ClassVar[bool] = False

    def quantize(self, rows: FloatArray, layer: Linear, bits: Bits, block_size: int) -> Blocks:
        """See :class:`Rounding`."""
        del layer
        step = max(1, _K_QUANT_VALUES // rows.shape[1])
        parts = [
            self._quantize(rows[start : start + step], bits, block_size)
            for start in range(0, len(rows), step)
        ]
        return Blocks(
            np.concatenate([part.levels for part in parts]),
            np.concatenate([part.scales for part in parts]),
            np.concatenate([part.zeros for part in parts]),
        )

    def _quantize(self, rows: FloatArray, bits: Bits, block_size: int) -> Blocks:
        # A block of equal weights has no spread to divide by; the method then keeps its start.
        with np.errstate(divide="ignore", invalid="ignore"):
            levels, scales, zeros = quant_tensor_k_quant_cpu(
                _padded(rows, block_size), bits, block_size
            )
        return _blocks(len(rows), levels, scales, zeros, bits)


@dataclass(frozen=True, slots=True)
class HalfQuadratic:
    """HQQ: zero points between the levels, found by a solver that tolerates outliers.

    For 4 bits: onnxruntime's CPU kernel takes no such zero points with 8.
    """

    has_float_zeros: ClassVar[bool] = True

    def quantize(self, rows: FloatArray, layer: Linear, bits: Bits, block_size: int) -> Blocks:
        """See :class:`Rounding`."""
        del layer
        with _quiet_root_logger():
            from onnxruntime.quantization.matmul_nbits_quantizer import (
                HQQWeightOnlyQuantConfig,
                HQQWeightOnlyQuantizer,
            )
        solver = HQQWeightOnlyQuantizer(HQQWeightOnlyQuantConfig(block_size, bits))
        levels, scales, zeros = solver.quantize_internal(
            torch.from_numpy(rows), bits=bits, group_size=block_size
        )
        packed = pack(levels.numpy().astype(np.uint8), bits)
        return Blocks(
            packed.reshape(len(rows), -1, block_size * bits // 8),
            scales.numpy().reshape(len(rows), -1),
            zeros.numpy().reshape(len(rows), -1),
        )


def _padded(rows: FloatArray, block_size: int) -> FloatArray:
    """``rows`` (n, inputs) with zeros up to whole blocks."""
    padding = -rows.shape[1] % block_size
    return np.pad(rows, ((0, 0), (0, padding))) if padding else rows


def _blocks(
    num_rows: int,
    levels: NDArray[np.float64],
    scales: NDArray[np.float64],
    zeros: Levels,
    bits: Bits,
) -> Blocks:
    """Blocks of levels (blocks of all rows, block_size), with a scale and a zero point each."""
    packed = pack(levels.astype(np.uint8), bits)
    return Blocks(
        packed.reshape(num_rows, -1, packed.shape[1]),
        scales.astype(np.float32).reshape(num_rows, -1),
        pack(zeros.reshape(num_rows, -1), bits),
    )


def pack(levels: Levels, bits: Bits) -> Levels:
    """Levels (n, k) of 4 bits two to a byte, (n, ceil(k / 2)); of 8 bits as they are."""
    if bits == 8:
        return levels
    even = np.pad(levels, ((0, 0), (0, levels.shape[1] % 2)))
    return np.bitwise_or(even[:, ::2], even[:, 1::2] << np.uint8(4))


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """The root logger as it was: the module that is imported inside sets it up for itself."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
