"""A trigger message of MQTT: strict JSON, so that a mistake is told and nothing is guessed."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adcopilot_edge.errors import InputError

MAX_BYTES = 16 << 10


class TriggerMessage(BaseModel):
    """What a message asks for.

    id: the sender's own name of the message; one that was taken before is not taken again.
    reference: how the sender knows the part. product: in place of the station's present one. path:
    of a picture; without it the station's camera is triggered.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str | None = Field(default=None, min_length=1, max_length=200)
    reference: str | None = Field(default=None, max_length=200)
    product: str | None = Field(default=None, min_length=1, max_length=64)
    path: str | None = Field(default=None, min_length=1, max_length=4096)


def read_trigger(payload: bytes, *, is_retained: bool = False) -> TriggerMessage:
    """Read a message. Raises InputError that says what is wrong with it."""
    if is_retained:
        raise InputError("a trigger must not be retained: it would come again and again")
    if len(payload) > MAX_BYTES:
        raise InputError(f"the message has {len(payload)} bytes; {MAX_BYTES} are allowed")
    try:
        return TriggerMessage.model_validate_json(payload)
    except ValidationError as err:
        raise InputError(f"the message is no trigger: {_findings(err)}") from err


def error_answer(message: TriggerMessage | None, error: Exception) -> dict[str, Any]:
    """What the sender is told of a message that made no part."""
    answer: dict[str, Any] = {
        "id": None if message is None else message.id,
        "reference": None if message is None else message.reference,
        "error": {"kind": type(error).__name__, "message": str(error)},
    }
    after = getattr(error, "retry_after_s", None)
    if after is not None:
        answer["error"]["retry_after_s"] = round(after, 3)
    return answer


def _findings(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'JSON'}: {item['msg']}" for item in error.errors()
    )
