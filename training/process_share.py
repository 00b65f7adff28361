"""What one of several processes takes of a set, and the results of all of them in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from accelerate.utils import gather_object

from adcopilot_edge.training.arguments import num_processes, process_number

_Result = TypeVar("_Result")


def share_of(count: int) -> list[int]:
    """The numbers below ``count``, which is not 0, that this process takes; as many as any other.

    Every process needs as many batches as the others, since shards are gathered in each, so that
    some numbers may be taken twice.
    """
    world, rank = num_processes(), process_number()
    return [(rank + world * turn) % count for turn in range(-(-count // world))]


def gather_in_order(found: Sequence[tuple[int, _Result]]) -> list[_Result]:
    """The results of all processes in the order of their numbers; each has to call it."""
    every = gather_object(list(found)) if num_processes() > 1 else found
    by_number: dict[int, _Result] = dict(every)
    return [by_number[number] for number in sorted(by_number)]
