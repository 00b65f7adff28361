"""A dialogue about a mined pair as a sample, with what mining knows as its truth."""

from __future__ import annotations

from collections.abc import Sequence

from adcopilot_edge.training.chat_ad.mined import MinedPair
from adcopilot_edge.training.chat_ad.sample import ChatSample, SampleTask, Turn
from adcopilot_edge.training.chat_ad.spots import boxes_of
from adcopilot_edge.types import BBox


def sample_of(
    pair: MinedPair,
    task: SampleTask,
    name: str,
    turns: Sequence[Turn],
    *,
    bboxes: Sequence[BBox] = (),
    choice: str | None = None,
    author: str = "template",
) -> ChatSample:
    """The sample ``name`` of those of its pair and task; the rest as ``ChatSample`` has it."""
    truth = boxes_of(pair)
    return ChatSample(
        key=f"{pair.key}:{task}:{name}",
        pair=pair.key,
        source=pair.source,
        category=pair.category,
        split=pair.split,
        task=task,
        template=pair.template,
        query=pair.query,
        query_size=pair.query_size,
        turns=tuple(turns),
        is_anomaly=not pair.is_normal,
        bboxes=tuple(bboxes),
        boxes=tuple(box for box, _ in truth),
        labels=tuple(label for _, label in truth),
        choice=choice,
        author=author,
    )
