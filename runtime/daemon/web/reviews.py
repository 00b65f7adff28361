"""``/v1/records/{id}/review`` and ``/v1/reviews/export``: people say what a part was."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import IO, Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from adcopilot_edge.runtime.daemon.record_search import search
from adcopilot_edge.runtime.daemon.reviews import Truth, add_review, write_pairs
from adcopilot_edge.runtime.daemon.web.access import Daemon, Feed, OperatorName, Pictures
from adcopilot_edge.runtime.daemon.web.records import Known, Wanted

_MAX_PAIRS = 10_000
_CHUNK = 1 << 18

router = APIRouter(prefix="/v1", tags=["reviews"])


class Review(BaseModel):
    """What somebody says of a part."""

    model_config = ConfigDict(extra="forbid")

    truth: Truth


@router.post("/records/{number}/review")
def review(
    daemon: Daemon,
    feed: Feed,
    pictures: Pictures,
    who: OperatorName,
    record: Known,
    review: Review,
) -> dict[str, Any]:
    """Say that a part was good or bad; the last word counts. Its image is kept from now on."""
    kept = None
    if record["image_file"] is None and (image := pictures.recent.get(record["id"])) is not None:
        kept = daemon.images.store(record["id"], image)
    told = add_review(daemon.journal, record["id"], review.truth, who, kept).result()
    feed.tell_review(told, image_file=kept)
    return told


@router.get(
    "/reviews/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/zip": {}}}},
)
def export(
    daemon: Daemon,
    pictures: Pictures,
    wanted: Wanted,
    limit: Annotated[int, Query(ge=1, le=_MAX_PAIRS)] = _MAX_PAIRS,
) -> StreamingResponse:
    """The reviewed parts with their goldens: a zip with a list that ``curate`` reads.

    404 where nothing was reviewed whose pictures are still there.
    """
    wanted = replace(wanted, truth=wanted.truth or "any")
    records = search(daemon.journal, wanted, before=None, limit=limit)
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it was sent
    pairs, left_out = write_pairs(
        file, records, image_of=pictures.image_file, golden_of=pictures.golden
    )
    if not pairs:
        file.close()
        raise HTTPException(
            404, f"{left_out} parts were reviewed, and the images of none of them are still there"
        )
    return StreamingResponse(
        _chunks(file),
        media_type="application/zip",
        headers={
            "Content-Length": str(file.tell()),
            "Content-Disposition": 'attachment; filename="reviewed-pairs.zip"',
            "Cache-Control": "no-store",
            "X-Pairs": str(pairs),
            "X-Left-Out": str(left_out),
        },
    )


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with closing(file):
        file.seek(0)
        while chunk := file.read(_CHUNK):
            yield chunk
