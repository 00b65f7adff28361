"""Errors as answers: ``{"error": {"kind", "message"}}``, whatever went wrong."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from adcopilot_edge.errors import (
    ConfigError,
    EdgeError,
    ForbiddenError,
    GoldenError,
    InputError,
    JournalError,
    NotReadyError,
    QueueFullError,
    StateFolderError,
    UnauthenticatedError,
    UnknownNameError,
)

_STATUS: tuple[tuple[type[EdgeError], int], ...] = (
    (UnauthenticatedError, 401),
    (ForbiddenError, 403),
    (QueueFullError, 429),
    (NotReadyError, 503),
    (JournalError, 503),
    (StateFolderError, 503),
    (GoldenError, 409),
    (UnknownNameError, 404),
    (ConfigError, 422),
    (InputError, 422),
    (EdgeError, 500),
)
# Where clients of OpenAI look for more than kind and message.
_OPENAI_PATHS = ("/v1/chat/", "/v1/models")


class Problem(BaseModel):
    """What went wrong. kind: the name of an error. retry_after_s: seconds until it may work."""

    kind: str
    message: str
    retry_after_s: float | None = None


class ErrorAnswer(BaseModel):
    """The body of every answer that tells of an error."""

    error: Problem


_STATUSES = (400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 431, 503)
ERROR_ANSWERS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": HTTPStatus(status).phrase} for status in _STATUSES
}
"""The errors that a route may answer with, for its description."""


class RequestError(Exception):
    """A request that can't be taken as it is. status: of the answer."""

    def __init__(self, message: str, *, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


def request_error(error: ValidationError | RequestValidationError) -> RequestError:
    """What pydantic found in a request, in one line."""
    found = "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'body'}: {_words(item['type'], item['msg'])}"
        for item in error.errors()
    )
    return RequestError(found)


def _words(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "there is no such field"
    return message.removeprefix("Value error, ")


def status_of(error: Exception) -> int:
    """The status of the answer that tells of an error."""
    if isinstance(error, RequestError):
        return error.status
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def told(error: Exception) -> dict[str, Any]:
    """An error as an answer has it. What is no error of ours stays in the log."""
    if not isinstance(error, EdgeError | RequestError):
        return {"kind": "InternalError", "message": "the daemon has a fault; its log has more"}
    content: dict[str, Any] = {"kind": type(error).__name__, "message": str(error)}
    if (after := getattr(error, "retry_after_s", None)) is not None:
        content["retry_after_s"] = round(after, 3)
    return content


def answer_of(request: Request, error: Exception) -> JSONResponse:
    """The answer that tells of an error."""
    status, content = status_of(error), told(error)
    if request.url.path.startswith(_OPENAI_PATHS):
        content |= {"type": content["kind"], "code": str(status), "param": None}
    after = getattr(error, "retry_after_s", None)
    headers = {} if after is None else {"Retry-After": str(max(1, round(after)))}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": content}, status_code=status, headers=headers)


def add_error_answers(app: FastAPI) -> None:
    """Have ``app`` tell of every error in the same form."""
    for kind in (EdgeError, RequestError, Exception):
        app.add_exception_handler(kind, answer_of)
    app.add_exception_handler(RequestValidationError, _answer_findings)
    app.add_exception_handler(HTTPException, _answer_http)


def _answer_findings(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return answer_of(request, request_error(error))


def _answer_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    message = str(error.detail)
    if message == status.phrase:
        message = f"{request.method} {request.url.path}: {status.phrase.lower()}"
    answer = answer_of(request, RequestError(message, status=error.status_code))
    answer.headers.update(error.headers or {})
    return answer
