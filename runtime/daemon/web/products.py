"""``/v1/products`` and their goldens, and which product a station has."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from pydantic import Field, TypeAdapter, ValidationError
from starlette.datastructures import UploadFile

from adcopilot_edge.errors import ConfigError, InputError, UnknownNameError
from adcopilot_edge.record import Record
from adcopilot_edge.runtime.daemon.station import StationDaemon
from adcopilot_edge.runtime.daemon.web.access import AdminName, Daemon, OperatorName
from adcopilot_edge.runtime.daemon.web.cameras import find_camera

router = APIRouter(prefix="/v1", tags=["products"])

ProductName = Annotated[str, Path(max_length=64)]
GoldenId = Annotated[str, Path(pattern="^[0-9a-f]{16}$")]
_MAX_ID = 2**63 - 1


class FromPart(Record):
    """Where a golden comes from, if it is not sent: the kept image of a part."""

    record: int = Field(gt=0, le=_MAX_ID)


class FromCamera(Record):
    """Where a golden comes from, if it is not sent: the next frame of a camera."""

    camera: str = Field(min_length=1, max_length=64)


class ChosenProduct(Record):
    """The product that a station is to have."""

    product: str = Field(max_length=64)


_JSON_SOURCE: TypeAdapter[FromPart | FromCamera] = TypeAdapter(FromPart | FromCamera)
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "format": "binary"}},
                }
            },
            "application/json": {
                "schema": {"oneOf": [FromPart.model_json_schema(), FromCamera.model_json_schema()]}
            },
        },
    }
}


@router.get("/products")
def products(daemon: Daemon) -> dict[str, Any]:
    """Every product, in the order of the station file."""
    return {"products": [_told(daemon, item.name) for item in daemon.settings.products]}


@router.get("/products/{name}")
def product(daemon: Daemon, name: ProductName) -> dict[str, Any]:
    """A product: its settings, and what of its goldens is in use."""
    return _told(daemon, _known(daemon, name))


@router.get("/products/{name}/goldens")
def goldens(daemon: Daemon, name: ProductName) -> dict[str, Any]:
    """The goldens of a product and their revisions."""
    return daemon.products.shelf_of(_known(daemon, name)).to_json()


@router.post("/products/{name}/goldens", status_code=201, openapi_extra=_BODY)
async def add_golden(
    daemon: Daemon, name: ProductName, who: AdminName, request: Request
) -> dict[str, Any]:
    """Add a golden, which waits for approval: a file, a camera's frame, or a part's kept image."""
    _known(daemon, name)
    source = await _source(request)
    if isinstance(source, FromPart):
        added = await run_in_threadpool(daemon.products.add_part, name, source.record, who=who)
    elif isinstance(source, FromCamera):
        camera = find_camera(request, source.camera)
        image = await run_in_threadpool(camera.picture)
        added = await run_in_threadpool(
            daemon.products.add, name, image, who=who, origin=camera.source
        )
    else:
        added = await run_in_threadpool(daemon.products.add, name, source, who=who)
    shelf = await run_in_threadpool(daemon.products.shelf_of, name)
    return {"id": added.id, "state": shelf.state_of(added.id)}


@router.get(
    "/products/{name}/goldens/{golden}/image", responses={200: {"content": {"image/*": {}}}}
)
def golden_image(daemon: Daemon, name: ProductName, golden: GoldenId) -> FileResponse:
    """The picture of a golden, as it came."""
    found = daemon.products.shelf_of(_known(daemon, name)).golden(golden)
    path = daemon.products.shelf.path(name, found)
    if not path.is_file():
        raise UnknownNameError(f"the file of the golden {golden} is gone from {path.parent}")
    return FileResponse(path)


@router.post("/products/{name}/goldens/{golden}/approve")
def approve(daemon: Daemon, name: ProductName, golden: GoldenId, who: AdminName) -> dict[str, Any]:
    """Put a golden in use from the next part on, as a new revision."""
    return daemon.products.approve(_known(daemon, name), golden, who=who).to_json()


@router.post("/products/{name}/goldens/rollback")
def roll_back(daemon: Daemon, name: ProductName, who: AdminName) -> dict[str, Any]:
    """Go back to the revision of the goldens that the present one was made of."""
    return daemon.products.roll_back(_known(daemon, name), who=who).to_json()


@router.delete("/products/{name}/goldens/{golden}")
def discard(daemon: Daemon, name: ProductName, golden: GoldenId, who: AdminName) -> dict[str, Any]:
    """Remove a golden that is pending."""
    return daemon.products.discard(_known(daemon, name), golden, who=who).to_json()


@router.post("/stations/{name}/product")
def choose(
    daemon: Daemon, name: ProductName, chosen: ChosenProduct, who: OperatorName
) -> dict[str, Any]:
    """Have a station inspect another product from the next part on."""
    try:
        daemon.settings.station(name)
    except ConfigError as err:
        raise UnknownNameError(str(err)) from err
    daemon.products.choose(name, chosen.product, who=who)
    return {"station": name, "product": daemon.product_of(name)}


def _told(daemon: StationDaemon, name: str) -> dict[str, Any]:
    recipe = daemon.settings.product(name)
    shelf = daemon.products.shelf_of(name)
    stations = [it.name for it in daemon.settings.stations]
    return {
        **recipe.model_dump(mode="json", exclude={"goldens"}),
        "revision": shelf.in_use,
        "goldens": list(shelf.current.goldens),
        "pending": list(shelf.pending),
        "stations": [it for it in stations if daemon.product_of(it) == name],
    }


def _known(daemon: StationDaemon, name: str) -> str:
    try:
        return daemon.settings.product(name).name
    except ConfigError as err:
        raise UnknownNameError(str(err)) from err


async def _source(request: Request) -> bytes | FromPart | FromCamera:
    """What a request for a new golden has."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        try:
            return _JSON_SOURCE.validate_json(await request.body())
        except ValidationError as err:
            raise InputError(
                'the body must be {"record": NUMBER}, the number of a part whose image was kept, '
                'or {"camera": NAME}'
            ) from err
    if kind != "multipart/form-data":
        raise InputError("send the picture as multipart/form-data with the field image, or JSON")
    async with request.form(max_files=1, max_fields=8) as form:
        image = form.get("image")
        if not isinstance(image, UploadFile):
            raise InputError("the form has no file in its field image")
        return await image.read()
