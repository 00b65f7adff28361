"""``/v1/inspect``: one part in, its final record out."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, File, Form, UploadFile
from fastapi.responses import JSONResponse

from adcopilot_edge.runtime.daemon.web.access import Daemon, Operator

router = APIRouter(prefix="/v1", tags=["inspect"])


@router.post("/inspect")
async def inspect(
    daemon: Daemon,
    _caller: Operator,
    image: Annotated[UploadFile, File(description="The picture of the part, as a file.")],
    station: Annotated[str | None, Form()] = None,
    product: Annotated[str | None, Form()] = None,
    reference: Annotated[str | None, Form(max_length=200)] = None,
) -> JSONResponse:
    """Inspect a part. The answer is its final record, which is on the disk by then.

    An image that can't be used is a part too: it is ``uncertain``, and the status is 422.
    """
    ticket = daemon.submit(
        await image.read(), source="http", station=station, product=product, reference=reference
    )
    record = await asyncio.wrap_future(ticket.done)
    status = 422 if record.reason == "image_unusable" else 200
    return JSONResponse(record.to_json(), status_code=status)
