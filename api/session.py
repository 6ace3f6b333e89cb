"""Who one is; and signing in from a browser, which keeps the key where scripts cannot read it."""

from dataclasses import replace
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access import COOKIE, SESSION, RefusedError
from api.parts import CallerPart, GatePart
from spec.access import ANYONE, Caller, Scope

router = APIRouter(prefix=SESSION, tags=["keys"])

KEPT = timedelta(days=30)


class SignIn(BaseModel):
    """What a browser signs in with."""

    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, Field(min_length=1, max_length=500)]


class SessionOut(BaseModel):
    """Who asks."""

    owner: Annotated[str, Field(description="whose jobs are seen and made")]
    name: Annotated[str, Field(description="of the key")]
    key: Annotated[str | None, Field(description="its id")]
    scopes: list[Scope]
    anonymous: Annotated[bool, Field(description="no key was sent, and none is wanted")]

    @classmethod
    def of(cls, caller: Caller) -> "SessionOut":
        """From whoever it is."""
        return cls(
            owner=caller.owner,
            name=caller.name,
            key=caller.key,
            scopes=sorted(caller.scopes),
            anonymous=replace(caller, request=None) == ANYONE,
        )


@router.get("", operation_id="get_session")
async def who(caller: CallerPart) -> SessionOut:
    """Says who asks, and what that one may do."""
    return SessionOut.of(caller)


@router.post(
    "",
    operation_id="sign_in",
    responses={
        401: {"description": "no key that is good"},
        403: {"description": "a key without the scope `read`"},
    },
)
async def sign_in(
    given: SignIn, request: Request, response: Response, gate: GatePart
) -> SessionOut:
    """Keeps a key in a cookie of this browser, for 30 days or until DELETE."""
    caller = await gate.known(given.key.strip())
    if caller is None:
        raise RefusedError(401, "this key is not known here, has expired or was revoked")
    if Scope.READ not in caller.scopes:  # it would see nothing, not even who it is
        held = ", ".join(sorted(caller.scopes))
        raise RefusedError(403, f"a browser takes a key with the scope read; yours has {held}")
    # behind a proxy that speaks TLS only the browser knows that it does
    origin = request.headers.get("origin", "")
    response.set_cookie(
        COOKIE,
        given.key.strip(),
        max_age=int(KEPT.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https" or origin.startswith("https://"),
    )
    return SessionOut.of(caller)


@router.delete(
    "",
    operation_id="sign_out",
    status_code=204,
    responses={204: {"description": "signed out"}},
)
async def sign_out(response: Response) -> None:
    """Takes the key out of this browser again."""
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
