"""What the linear layers of a language model get as input, summed up layer by layer.

Walks torch's own layers over the sequences of some pairs. One layer's sums and the hidden states
between two layers are in memory, so a model of any depth can be walked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_MODULE = re.compile(r"language_model\.layers\.(\d+)\.(.+)")


@dataclass(frozen=True, slots=True)
class LayerCall:
    """One sequence before a layer: hidden states (1, T, D), and what else the layer is called with.

    The settings are those of every layer.
    """

    hidden: Tensor
    settings: Mapping[str, Any]


class _CapturedError(Exception):
    """Ends a forward pass where its first layer would begin."""


def capture_call(first: nn.Module, run: Callable[[], object]) -> LayerCall:
    """How ``run`` calls ``first``, the first layer of a model; nothing behind it is computed."""
    calls: list[LayerCall] = []

    def stop(_: nn.Module, arguments: tuple[Any, ...], settings: dict[str, Any]) -> None:
        hidden, *rest = arguments or (settings.pop("hidden_states"),)
        assert not rest, "a layer is called with keywords but for its hidden states"
        calls.append(LayerCall(hidden, settings))
        raise _CapturedError

    # Before the hook that would read the layer's weights.
    handle = first.register_forward_pre_hook(stop, with_kwargs=True, prepend=True)
    try:
        run()
    except _CapturedError:
        pass
    finally:
        handle.remove()
    return calls[0]


class LayerGrams:
    """The sums X'X of the inputs X of every linear layer; see :class:`rounding.Grams`.

    Layers are asked for in their order: a layer's sums are gone once a later one was asked for.

    Args:
        layers: The model's layers.
        calls: Each sequence before the first of them.
    """

    def __init__(self, layers: Sequence[nn.Module], calls: Sequence[LayerCall]) -> None:
        self._layers = layers
        self._calls = list(calls)
        self._index = -1
        self._grams: dict[str, NDArray[np.float64]] = {}

    def gram(self, module: str) -> NDArray[np.float64]:
        """X'X (inputs, inputs) of the linear layer ``module``, by our name; not to be changed."""
        match = _MODULE.fullmatch(module)
        assert match is not None, module
        index = int(match[1])
        assert index >= self._index, f"{module} comes behind layer {self._index}"
        while self._index < index:
            self._walk()
        return self._grams[match[2]]

    @torch.inference_mode()
    def _walk(self) -> None:
        """Run the next layer over all sequences."""
        self._index += 1
        self._grams = {}
        layer = self._layers[self._index]
        handles = [
            linear.register_forward_pre_hook(self._adder(name))
            for name, linear in layer.named_modules()
            if isinstance(linear, nn.Linear) and _is_first(name)
        ]
        try:
            self._calls = [
                LayerCall(layer(call.hidden, **call.settings), call.settings)
                for call in self._calls
            ]
        finally:
            for handle in handles:
                handle.remove()

    def _adder(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        """A hook that adds what the linear layer ``name`` gets."""

        def add(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            rows = arguments[0].flatten(0, -2).double()
            gram = (rows.T @ rows).numpy()
            known = self._grams.get(name)
            self._grams[name] = gram if known is None else known + gram

        return add


def _is_first(name: str) -> bool:
    """Whether a linear layer is the first of those with the same input, which share its sums."""
    return name.rpartition(".")[2] not in ("k_proj", "v_proj", "up_proj")
