"""What a client of OpenAI's chat sends, read as one part: its pictures, its question, its model."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from adcopilot_edge.record import Record
from adcopilot_edge.runtime.daemon.web.errors import RequestError
from adcopilot_edge.runtime.daemon.web.part_request import MAX_QUESTION, PartFields

PRODUCT = "product:"
_TAKEN = {"model", "messages", "stream", "adcopilot"}
# What changes the form of the answer, with the values that leave it as it is.
_FORMS: dict[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "tools": (None, []),
    "functions": (None, []),
    "response_format": (None, {"type": "text"}),
    "logprobs": (None, False),
    "modalities": (None, ["text"]),
    "audio": (None,),
}


class _Open(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Address(_Open):
    url: str


class _Text(_Open):
    type: Literal["text"]
    text: str


class _Picture(_Open):
    type: Literal["image_url"]
    image_url: _Address


_Piece = Annotated[_Text | _Picture, Field(discriminator="type")]


class _Message(_Open):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | tuple[_Piece, ...]


class Extra(Record):
    """The field ``adcopilot`` of a request: what chat has no words for. As in ``PartFields``."""

    station: str | None = None
    reference: str | None = None
    tasks: tuple[str, ...] | None = None


class ChatRequest(BaseModel):
    """A request for a completion. What is not named here is ignored, and the answer says so."""

    model_config = ConfigDict(frozen=True, extra="allow")

    model: str = Field(min_length=1, max_length=200)
    messages: tuple[_Message, ...] = Field(min_length=1)
    stream: bool = False
    adcopilot: Extra = Extra()

    def ignored(self) -> list[str]:
        """Names of what has no effect: the words are always the likeliest ones."""
        names = [name for name in (self.model_extra or {}) if name not in _FORMS]
        roles = {message.role for message in self.messages} - {"user"}
        return sorted(names) + sorted(f"messages:{role}" for role in roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatPart:
    """The part of a chat. golden: None for the product's. images are files, as they came."""

    image: bytes
    golden: bytes | None
    fields: PartFields
    ignored: list[str]


def read_chat(request: ChatRequest, models: list[str]) -> ChatPart:
    """The part that a chat is about.

    Two images are the golden and the part, in this order; one is the part, of the product that the
    model names.

    Raises:
        RequestError: There is no such model, or it is no chat about one part.
    """
    if request.model not in models:
        raise RequestError(
            f"there is no model {request.model!r}; known: {', '.join(models)}", status=404
        )
    for name, harmless in _FORMS.items():
        if (value := (request.model_extra or {}).get(name)) not in harmless:
            raise RequestError(f"{name}: {value!r} is not known here; leave it out")
    images, question = _read_messages(request)
    is_product = request.model.startswith(PRODUCT)
    if len(images) != (1 if is_product else 2):
        wanted = "one image, the part" if is_product else "two images, the golden and then the part"
        raise RequestError(f"messages: {request.model} takes {wanted}; there are {len(images)}")
    fields = PartFields(
        **request.adcopilot.model_dump(),
        product=request.model.removeprefix(PRODUCT) if is_product else None,
        ask=question or None,
    )
    return ChatPart(
        image=images[-1],
        golden=None if is_product else images[0],
        fields=fields,
        ignored=request.ignored(),
    )


def _read_messages(request: ChatRequest) -> tuple[list[bytes], str]:
    """The images of all messages of the user, and the words of the last one."""
    images, words = [], ""
    for message in request.messages:
        if message.role == "assistant":
            raise RequestError("messages: an answer of before is there; ask about one part at once")
        pieces = message.content
        if isinstance(pieces, str):
            pieces = (_Text(type="text", text=pieces),)
        found = [piece for piece in pieces if isinstance(piece, _Picture)]
        if message.role != "user":
            if found:
                raise RequestError(f"messages: images belong to the user, not the {message.role}")
            continue
        images += [_read_url(piece.image_url.url) for piece in found]
        words = "\n".join(piece.text for piece in pieces if isinstance(piece, _Text)).strip()
    if len(words) > MAX_QUESTION:
        raise RequestError(f"messages: the question has more than {MAX_QUESTION} letters")
    return images, words


def _read_url(url: str) -> bytes:
    """The file in a ``data:`` URL; nothing is ever fetched."""
    head, comma, body = url.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64") or not comma:
        raise RequestError(f"image_url: only data:image/...;base64,... is taken, not {url[:40]!r}")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as err:
        raise RequestError(f"image_url: the base64 is broken: {err}") from err
