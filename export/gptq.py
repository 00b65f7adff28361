"""GPTQ: what rounding one weight does to a layer's output is made up for by the weights behind it.

After Frantar et al., "GPTQ: accurate post-training quantization for generative pre-trained
transformers" (arXiv 2210.17323), algorithm 1. onnxruntime has a function of that name, which passes
nothing on from one weight to the next (1.32; a test shows it), so that its levels are plain
rounding; this is therefore our own.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from adcopilot_edge.export.rounding import Bits, Blocks, pack
from adcopilot_edge.export.weights import Linear
from adcopilot_edge.types import FloatArray

# Added to the diagonal, in parts of its mean: the paper's own value.
_DAMPING = 0.01
# Inputs between two updates of everything behind them, as in the paper.
_LAZY_INPUTS = 128


class Grams(Protocol):
    """What is known of the inputs of a model's layers."""

    def gram(self, module: str) -> NDArray[np.float64]:
        """X'X (inputs, inputs) of the inputs X of the linear layer ``module``."""
        ...


class Gptq:
    """The method; see :class:`rounding.Rounding`.

    Args:
        grams: What the layers get as input; those of a stack share it. Without it only sizes are
            known.
    """

    has_float_zeros: ClassVar[bool] = False

    def __init__(self, grams: Grams | None) -> None:
        self._grams = grams
        self._factor: tuple[str, Tensor] | None = None

    def quantize(self, rows: FloatArray, layer: Linear, bits: Bits, block_size: int) -> Blocks:
        """See :class:`rounding.Rounding`."""
        assert self._grams is not None, "nothing is known of the layers' inputs"
        name = layer.modules[0]
        if self._factor is None or self._factor[0] != name:
            self._factor = None  # the old one goes before the new one comes
            self._factor = (name, _factor(self._grams.gram(name)))
        factor = self._factor[1]
        padding = -rows.shape[1] % block_size
        weights = torch.from_numpy(np.ascontiguousarray(rows.T))
        weights[factor.diagonal() == 0] = 0  # an input that is always 0: its weights do nothing
        levels, scales, zeros = _quantize(
            pad(weights, (0, 0, 0, padding)),
            pad(factor, (0, padding, 0, padding)),
            bits,
            block_size,
        )
        packed = pack(levels.T.contiguous().numpy(), bits)
        return Blocks(
            packed.reshape(len(rows), -1, block_size * bits // 8),
            scales.T.contiguous().numpy(),
            pack(zeros.T.contiguous().numpy(), bits),
        )


def _factor(gram: NDArray[np.float64]) -> Tensor:
    """U (K, K) float32, upper, with U'U the inverse of the damped ``gram``.

    Rows and columns of an input that was always 0 are 0.
    """
    damped = torch.from_numpy(gram.copy())
    diagonal = damped.diagonal()
    is_dead = diagonal == 0
    diagonal += _DAMPING * diagonal.mean() + is_dead
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    factor = torch.linalg.cholesky(inverse, upper=True).float()
    factor[is_dead] = 0
    factor[:, is_dead] = 0
    return factor


def _quantize(
    weights: Tensor, factor: Tensor, bits: Bits, block_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Levels (K, n) uint8 of ``weights`` (K, n), scales and zero points (K / block_size, n)."""
    num_inputs, most = len(weights), 2**bits - 1
    lazy = max(block_size, _LAZY_INPUTS)
    levels = torch.empty(weights.shape, dtype=torch.uint8)
    scales, zeros = [], []
    for start in range(0, num_inputs, lazy):
        stop = min(start + lazy, num_inputs)
        chunk, errors = weights[start:stop], torch.zeros(stop - start, weights.shape[1])
        for index, weight in enumerate(chunk):
            if index % block_size == 0:
                scale, zero = _spread(chunk[index : index + block_size], most)
                scales.append(scale)
                zeros.append(zero.byte())
            level = (torch.round(weight / scale) + zero).clamp(0, most)
            levels[start + index] = level.byte()
            own = factor[start + index, start:stop]
            if own[index] == 0:
                continue
            errors[index] = (weight - scale * (level - zero)) / own[index]
            chunk[index + 1 :] -= torch.outer(own[index + 1 :], errors[index])
        weights[stop:] -= factor[start:stop, stop:].T @ errors
    return levels, torch.stack(scales), torch.stack(zeros)


def _spread(block: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Scale and zero point (n,) with which levels 0 to ``most`` reach all of ``block`` (k, n)."""
    low, high = block.amin(0).clamp(max=0), block.amax(0).clamp(min=0)
    scale = (high - low) / most
    scale[scale == 0] = 1
    return scale, torch.round(-low / scale)
