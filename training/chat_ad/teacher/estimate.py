"""What a run of the teacher would send, without sending it. Needs neither key nor endpoint."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.teacher.ask import (
    PATCH_SIDE,
    most_text_tokens,
    pictures_of,
    request_key,
)
from adcopilot_edge.training.chat_ad.teacher.cache import CACHE_FILE, AnswerCache
from adcopilot_edge.training.chat_ad.teacher.settings import TeacherSettings
from adcopilot_edge.training.chat_ad.teacher.spent import Spent, read_spent

MEASURED_PAIRS = 64
"""So many pairs have their pictures scaled and packed; the others count as their mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A run before it is done.

    requests: pairs that the cache has no answer to; cached: those that it has. text_tokens_in: at
    three characters each. picture_tokens_in: at 28 x 28 pixels each, as Qwen2.5-VL has it; another
    teacher counts otherwise. max_tokens_out: if every answer were as long as it may be. sent_bytes:
    of the pictures as base64; measured_pairs: on how many requests it is measured. max_cost: of all
    those tokens, None without prices. limits: those of the budget at which the run may stop, with
    what was spent before, as ``max_requests 100``.
    """

    requests: int
    cached: int
    text_tokens_in: int
    picture_tokens_in: int
    max_tokens_out: int
    sent_bytes: int
    measured_pairs: int
    max_cost: float | None
    limits: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The estimate as one object."""
        return {
            "requests": self.requests,
            "cached": self.cached,
            "text_tokens_in": self.text_tokens_in,
            "picture_tokens_in": self.picture_tokens_in,
            "max_tokens_out": self.max_tokens_out,
            "sent_bytes": self.sent_bytes,
            "measured_pairs": self.measured_pairs,
            "max_cost": None if self.max_cost is None else round(self.max_cost, 6),
            "limits": list(self.limits),
        }


def estimate(pairs: Iterable[MinedPair], settings: TeacherSettings) -> Estimate:
    """What ``teach`` would send for ``pairs``; nothing is sent and nothing written.

    Raises:
        ConfigError: The cache is damaged, or what was spent before can't be read.
        InputError: A picture can't be read.
    """
    known = _cached_keys(settings)
    requests = cached = text_tokens = picture_tokens = sent_bytes = 0
    for pair in pairs:
        key, asked = request_key(pair, settings)
        if key in known:
            cached += 1
            continue
        requests += 1
        text_tokens += most_text_tokens(asked, settings)
        for width, height in (pair.template_size, pair.query_size):
            scale = min(1.0, settings.image_side / max(width, height))
            across, down = (math.ceil(side * scale / PATCH_SIDE) for side in (width, height))
            picture_tokens += across * down
        if requests <= MEASURED_PAIRS:
            sent_bytes += sum(len(url) for url in pictures_of(pair, settings))
    measured = min(requests, MEASURED_PAIRS)
    tokens_in, max_out = text_tokens + picture_tokens, requests * settings.max_answer_tokens
    return Estimate(
        requests=requests,
        cached=cached,
        text_tokens_in=text_tokens,
        picture_tokens_in=picture_tokens,
        max_tokens_out=max_out,
        sent_bytes=round(sent_bytes * requests / measured) if measured else 0,
        measured_pairs=measured,
        max_cost=settings.budget.cost(tokens_in, max_out),
        limits=_limits(settings, Spent(requests=requests, tokens_in=tokens_in, tokens_out=max_out)),
    )


def _limits(settings: TeacherSettings, more: Spent) -> tuple[str, ...]:
    """The limits that ``more`` exceeds, with what was spent before."""
    budget, before = settings.budget, read_spent(settings.folder)
    tokens_in, tokens_out = before.tokens_in + more.tokens_in, before.tokens_out + more.tokens_out
    needs = {
        "max_requests": before.requests + more.requests,
        "max_tokens": tokens_in + tokens_out,
        "max_cost": budget.cost(tokens_in, tokens_out),
    }
    given = ((name, getattr(budget, name), need) for name, need in needs.items())
    return tuple(
        f"{name} {limit:g}" if name == "max_cost" else f"{name} {limit}"
        for name, limit, need in given
        if limit is not None and need is not None and need > limit
    )


def _cached_keys(settings: TeacherSettings) -> frozenset[str]:
    if not (settings.folder / CACHE_FILE).is_file():
        return frozenset()
    with AnswerCache(settings.folder) as cache:
        return cache.keys()
