"""Every error answer, as application/problem+json (RFC 9457)."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from spec.jobs import TAG, TAG_KEY
from spec.spaces import POINTER
from spec.states import State
from store.checkpoints import CheckpointNotFoundError
from store.database import Unavailable, describe
from store.deliveries import DeliveryNotFoundError, DisabledError
from store.idempotency import InFlightError
from store.jobs import JobNotFoundError, NeededError, WrongStateError
from store.sweep_moves import WrongSweepStateError
from store.sweeps import SweepNotFoundError
from store.webhooks import TooManyWebhooksError, WebhookNotFoundError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")

SHOWN = 100
"""So many wrong fields are named: a body may have a hundred thousand."""


IN_WORDS = {
    POINTER: "must be a JSON pointer into the template, as /schedule/max_lr",
    TAG: "must be a tag and its value, as project:demo; a tag is up to 63 letters, digits, ._/-",
    TAG_KEY: "is no name for a tag: up to 63 letters, digits and ._/-, the first a letter or digit",
}
"""Pattern -> what is said where a value does not match it."""


class FieldError(BaseModel):
    """What is wrong with one field of the request."""

    pointer: str = Field(description="JSON pointer into the body, or the name of a parameter")
    detail: str


class Problem(BaseModel):
    """An error answer."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    errors: list[FieldError] | None = None


class ProblemError(Exception):
    """Raised by a route to answer with a problem."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = list(errors)


class InvalidError(ProblemError):
    """The payload is well-formed but asks for something that cannot be."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("the request is not valid", errors)

    @classmethod
    def at(cls, pointer: str, detail: str) -> "InvalidError":
        """One wrong field."""
        return cls([FieldError(pointer=pointer, detail=detail)])

    def under(self, pointer: str) -> list[FieldError]:
        """The wrong fields of what is only a part of the payload."""
        return [
            FieldError(pointer=pointer + each.pointer, detail=each.detail) for each in self.errors
        ]


class NotFoundError(ProblemError):
    """There is nothing of that name."""

    status = HTTPStatus.NOT_FOUND


class RefusedError(ProblemError):
    """The caller may not, for now."""

    status = HTTPStatus.FORBIDDEN


class AwayError(ProblemError):
    """Something that the answer needs cannot be reached now."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "5"}


class NotAcceptableError(ProblemError):
    """No representation that the client accepts."""

    status = HTTPStatus.NOT_ACCEPTABLE


def answer(
    status: int,
    detail: str | None = None,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A problem as a response."""
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        errors=list(errors) or None,
    )
    return JSONResponse(
        problem.model_dump(exclude_none=True),
        status_code=status,
        headers=dict(headers or {}),
        media_type=MEDIA_TYPE,
    )


def field_errors(errors: Sequence[Any], body: Any, *, under: str = "") -> list[FieldError]:
    """Pydantic's errors with JSON pointers instead of locations.

    A location also names the branches of unions it went through; only what is a key of the
    body, or would be one, belongs in a pointer.
    """
    return [
        FieldError(
            pointer=under + _pointer(each, body),
            detail=_said(each),
        )
        for each in errors
    ]


def _said(error: Any) -> str:
    said: str = error["msg"]
    return IN_WORDS.get((error.get("ctx") or {}).get("pattern", ""), said)


def _pointer(error: Any, body: Any) -> str:
    path: list[int | str] = []
    at = body
    missing = len(error["loc"]) - 1 if error["type"] == "missing" else None
    for depth, part in enumerate(error["loc"]):
        # where nothing follows it is a key: what is wrong with a branch lies within
        first = depth == 0 and len(error["loc"]) > 1
        is_job = first or (depth == 2 and path[:1] == ["jobs"])  # noqa: PLR2004 - /jobs/3
        if is_job and isinstance(at, dict) and part == at.get("kind", "sweep"):
            continue  # the branch of a union of jobs or sweeps, even where a stray key has its name
        if isinstance(at, dict) and (part in at or depth == missing):
            path.append(part)
            at = at.get(part)
        elif isinstance(at, list | tuple) and isinstance(part, int) and part < len(at):
            path.append(part)
            at = at[part]
    if "field" in error.get("ctx", {}):  # the field within, or the path of keys to it
        field = error["ctx"]["field"]
        path += field if isinstance(field, list | tuple) else [field]
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


async def _invalid(_: Request, error: Any) -> JSONResponse:
    found: list[FieldError] = []
    for each in error.errors()[:SHOWN]:
        source, *rest = each["loc"]
        if source == "body" and each["type"] == "json_invalid":
            reason = each.get("ctx", {}).get("error", "cannot be parsed")
            found.append(FieldError(pointer="", detail=f"the body is not JSON: {reason}"))
        elif source == "body":
            found += field_errors([{**each, "loc": rest}], error.body)
        else:
            found.append(FieldError(pointer=f"/{rest[0]}", detail=_said(each)))
    return answer(422, "the request is not valid", errors=found)


async def _problem(_: Request, error: Any) -> JSONResponse:
    return answer(error.status, error.detail, errors=error.errors[:SHOWN], headers=error.headers)


async def _missing(_: Request, error: Any) -> JSONResponse:
    return answer(404, f"there is no job {error}")


async def _no_sweep(_: Request, error: Any) -> JSONResponse:
    return answer(404, f"there is no sweep {error}")


async def _no_webhook(_: Request, error: Any) -> JSONResponse:
    return answer(404, f"there is no webhook {error}")


async def _no_delivery(_: Request, error: Any) -> JSONResponse:
    return answer(404, f"there is no delivery {error} of this webhook")


async def _no_checkpoint(_: Request, error: Any) -> JSONResponse:
    return answer(404, str(error))


async def _conflict(_: Request, error: Any) -> JSONResponse:
    # neither finished nor on its way: what a client may ask of a paused job is least obvious
    hint = ": resume it, or cancel it first" if error.job.state == State.PAUSED else ""
    return answer(409, f"{error}{hint}")


async def _needed(_: Request, error: Any) -> JSONResponse:
    return answer(409, str(error))


async def _in_flight(_: Request, error: Any) -> JSONResponse:
    detail = f"a request with the Idempotency-Key {error} is just being answered: send it again"
    return answer(409, detail, headers={"Retry-After": "1"})


async def _plain(request: Request, error: Any) -> JSONResponse:
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request))
    return answer(error.status_code, error.detail, headers=headers)


def _allowed(request: Request) -> list[str]:
    """The methods of all routes at the path of a request: the error knows those of the first."""
    return [
        method
        for method in METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] == Match.FULL
            for route in request.app.routes
        )
    ]


async def _unavailable(_: Request, error: Any) -> JSONResponse:
    log.error("database.unavailable %s", describe(error))
    detail = f"the database does not take this now: {describe(error)}"
    return answer(503, detail, headers={"Retry-After": "5"})


HANDLERS = {
    RequestValidationError: _invalid,
    ProblemError: _problem,
    JobNotFoundError: _missing,
    CheckpointNotFoundError: _no_checkpoint,
    WrongStateError: _conflict,
    NeededError: _needed,
    SweepNotFoundError: _no_sweep,
    WrongSweepStateError: _needed,
    WebhookNotFoundError: _no_webhook,
    DeliveryNotFoundError: _no_delivery,
    DisabledError: _needed,
    TooManyWebhooksError: _needed,
    InFlightError: _in_flight,
    HTTPException: _plain,
    **dict.fromkeys(Unavailable, _unavailable),
}


def install(app: FastAPI) -> None:
    """Turns every error of the app into a problem; no stack trace leaves the server."""
    for error, handler in HANDLERS.items():
        app.add_exception_handler(error, handler)
