"""``/login``, ``/logout``, ``/v1/session``: a browser exchanges a token for a cookie."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse

from adcopilot_edge.errors import UnauthenticatedError
from adcopilot_edge.runtime.daemon.door.gate import (
    TOO_MANY_FAILURES,
    cookie_name,
    session_cookie,
)
from adcopilot_edge.runtime.daemon.door.keys import Keys
from adcopilot_edge.runtime.daemon.door.rate import told_in
from adcopilot_edge.runtime.daemon.web.access import find_caller

router = APIRouter(tags=["session"])


@router.post("/login")
def login(request: Request, content: Annotated[Any, Body()] = None) -> JSONResponse:
    """Sign a browser in: ``{"token": "..."}`` becomes a cookie that no script can read."""
    keys = _keys(request)
    text = content.get("token") if isinstance(content, dict) else None
    token = keys.tokens.find(text.strip()) if isinstance(text, str) else None
    if token is None:
        if (wait_s := keys.note_failure(request.scope)) > 0:
            error = {"kind": "TooManyFailures", "message": TOO_MANY_FAILURES}
            return JSONResponse({"error": error}, status_code=429, headers=told_in(wait_s))
        raise UnauthenticatedError("the token is not known here, or was removed")
    answer = JSONResponse({"signed_in": True, "name": token.name, "role": token.role})
    answer.set_cookie(
        cookie_name(keys.settings),
        keys.sessions.start(token),
        max_age=round(keys.sessions.lasting_s),
        path="/",
        httponly=True,
        samesite="strict",
        secure=keys.settings.has_tls,
    )
    return answer


@router.post("/logout")
def logout(request: Request) -> JSONResponse:
    """End the session of this browser."""
    keys = _keys(request)
    secret = session_cookie(request.scope, keys.settings)
    if secret is not None:
        keys.sessions.end(secret)
    answer = JSONResponse({"signed_in": False})
    answer.delete_cookie(
        cookie_name(keys.settings),
        path="/",
        httponly=True,
        samesite="strict",
        secure=keys.settings.has_tls,
    )
    return answer


@router.get("/v1/session")
def session(request: Request) -> dict[str, Any]:
    """Who asks: name, role and way (``local``, ``token``, ``session``), all None for the unknown.

    ``needs_token`` says whether anything more can be had without signing in.
    """
    caller = find_caller(request)
    return {
        "signed_in": caller is not None,
        "name": None if caller is None else caller.name,
        "role": None if caller is None else caller.role,
        "way": None if caller is None else caller.way,
        "needs_token": _keys(request).settings.needs_token,
    }


def _keys(request: Request) -> Keys:
    keys: Keys = request.app.state.keys
    return keys
