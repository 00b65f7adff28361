"""``/v1/cameras/NAME/trigger``: the next frame of a camera in, its final record out."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import JSONResponse

from adcopilot_edge.errors import ConfigError
from adcopilot_edge.runtime.daemon.inputs.camera import CameraInput
from adcopilot_edge.runtime.daemon.inputs.inputs import Inputs

router = APIRouter(prefix="/v1/cameras", tags=["inspect"])


@router.post("/{name}/trigger")
async def trigger(
    request: Request,
    name: str,
    reference: Annotated[str | None, Form(max_length=200)] = None,
    product: Annotated[str | None, Form(max_length=64)] = None,
) -> JSONResponse:
    """Inspect the part that the camera sees now. The answer is its final record.

    A camera that gives no frame in time makes a part too, which is ``uncertain``.
    """
    camera = find_camera(request, name)
    if camera.trigger_kind != "http":
        raise ConfigError(f"the camera {name} has the trigger {camera.trigger_kind!r}, not 'http'")
    ticket = await asyncio.to_thread(camera.trigger, reference=reference, product=product)
    record = await asyncio.wrap_future(ticket.done)
    return JSONResponse(record.to_json())


def find_camera(request: Request, name: str) -> CameraInput:
    """The camera of that name. Raises ConfigError."""
    inputs: Inputs | None = request.app.state.inputs
    if inputs is None:
        raise ConfigError("this daemon has no cameras")
    return inputs.camera(name)
