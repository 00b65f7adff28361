"""``/v1/records``: what became of the parts, and their pictures."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Query
from fastapi.responses import Response

from adcopilot_edge.runtime.daemon.heat_file import heat_picture
from adcopilot_edge.runtime.daemon.record_search import RecordFilter, find, search
from adcopilot_edge.runtime.daemon.web.access import Daemon, Pictures
from adcopilot_edge.runtime.daemon.web.pictures import KEPT, picture_response, picture_size
from adcopilot_edge.types import Verdict

_MAX_ID = 2**63 - 1
_MAX_PAGE = 200

router = APIRouter(prefix="/v1", tags=["records"])

Id = Annotated[int, Path(ge=1, le=_MAX_ID, description="The number of the part.")]
_Name = Annotated[str | None, Query(max_length=200)]
_PICTURE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/*": {}}}}


async def wanted(
    station: _Name = None,
    product: _Name = None,
    verdict: Verdict | None = None,
    reason: _Name = None,
    reference: Annotated[
        str | None, Query(max_length=200, description="How the reference begins.")
    ] = None,
    since: datetime | None = None,
    until: datetime | None = None,
    truth: Literal["good", "bad", "any"] | None = None,
) -> RecordFilter:
    """The filter of a query. A time without a zone is in UTC."""
    return RecordFilter(
        station=station,
        product=product,
        verdict=verdict,
        reason=reason,
        reference=reference or None,
        since=_seconds(since),
        until=_seconds(until),
        truth=truth,
    )


Wanted = Annotated[RecordFilter, Depends(wanted)]


def known(daemon: Daemon, number: Id) -> dict[str, Any]:
    """The record of a path. Raises the answer 404."""
    record = find(daemon.journal, number)
    if record is None:
        raise HTTPException(404, f"there is no final record {number}")
    return record


Known = Annotated[dict[str, Any], Depends(known)]


@router.get("/records")
def list_records(
    daemon: Daemon,
    pictures: Pictures,
    wanted: Wanted,
    before: Annotated[int | None, Query(ge=1, le=_MAX_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 50,
) -> dict[str, Any]:
    """The newest records, the newest first; ``before`` is the ``next_before`` of the last page."""
    found = search(daemon.journal, wanted, before=before, limit=limit + 1)
    page = found[:limit]
    return {
        "records": [pictures.told(record) for record in page],
        "next_before": page[-1]["id"] if len(found) > limit else None,
    }


@router.get("/records/{number}")
def get_record(pictures: Pictures, record: Known) -> dict[str, Any]:
    """One record."""
    return pictures.told(record)


@router.get("/records/{number}/image", response_class=Response, responses=_PICTURE)
def get_image(pictures: Pictures, record: Known) -> Response:
    """The image of the part; for a browser that can't show its format, as PNG."""
    image = pictures.image(record)
    if image is None:
        raise HTTPException(404, f"the image of part {record['id']} was not kept, or is gone")
    return picture_response(image)


@router.get("/records/{number}/golden", response_class=Response, responses=_PICTURE)
def get_golden(pictures: Pictures, record: Known) -> Response:
    """The golden that the part was compared with; the product's where nothing was compared."""
    path = pictures.golden(record)
    if path is None:
        raise HTTPException(404, f"the golden of part {record['id']} is gone")
    return picture_response(path.read_bytes())


@router.get("/records/{number}/map.png", response_class=Response, responses=_PICTURE)
def get_map(pictures: Pictures, record: Known) -> Response:
    """The anomaly map as a picture with transparency, to be stretched over the image."""
    path, image = pictures.map_file(record), pictures.image(record)
    if path is None or image is None:
        raise HTTPException(404, f"there is no map of part {record['id']}")
    heat = heat_picture(path, *picture_size(image))
    return Response(heat, media_type="image/png", headers=KEPT)


def _seconds(moment: datetime | None) -> float | None:
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
