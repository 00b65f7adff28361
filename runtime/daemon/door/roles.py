"""Who asks, and what each may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from adcopilot_edge.errors import ForbiddenError, UnauthenticatedError

Role = Literal["operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
Way = Literal["local", "token", "session"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a request.

    name: of the token, or ``local``. role: an operator runs the line; an admin changes what is
    inspected, too. way: by being on this machine where no token is needed, by a token in the
    header, or by the cookie of a browser that has signed in.
    """

    name: str
    role: Role
    way: Way


LOCAL = Caller(name="local", role="admin", way="local")


def require_role(caller: Caller | None, role: Role) -> Caller:
    """The caller, if that one may do what needs ``role``.

    Raises:
        UnauthenticatedError: Nobody knows who asks.
        ForbiddenError: The role does not reach.
    """
    if caller is None:
        raise UnauthenticatedError(
            "this needs a token: send it as 'Authorization: Bearer TOKEN', or sign in on the page. "
            "Make one with: adcopilot-edge token add NAME --role operator --config STATION_FILE"
        )
    if role == "admin" and caller.role != "admin":
        raise ForbiddenError(
            f"{caller.name} is an {caller.role}, and this needs the role {role}. "
            "Ask with the token of an admin"
        )
    return caller
