"""One HTTP exchange: tried again when the connection is lost, its refusals turned into errors."""

import contextlib
import os
import time
import uuid
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from stepsize.answers import Answer as Value
from stepsize.errors import (
    ApiError,
    FieldError,
    NotStepsizeError,
    StepsizeError,
    UnreachableError,
)

DEFAULT_URL = "http://127.0.0.1:8000"
PAUSES = (0.1, 0.2, 0.4)
"""Seconds to wait before each new attempt after a lost connection, or while one is answered."""

Answer = TypeVar("Answer", bound=BaseModel)


class _Problem(Value):
    """The body of a refusal (RFC 9457)."""

    title: str = ""
    detail: str | None = None
    errors: list[FieldError] = []  # noqa: RUF012 - pydantic copies it


def connect(
    url: str | None,
    api_key: str | None,
    *,
    timeout: float,
    transport: httpx.BaseTransport | None = None,
) -> httpx.Client:
    """A client for the server at `url`, by default STEPSIZE_URL, with its key."""
    base = (url or os.environ.get("STEPSIZE_URL") or DEFAULT_URL).rstrip("/")
    key = (api_key or os.environ.get("STEPSIZE_API_KEY") or "").strip()
    if not (key.isascii() and key.isprintable()):  # which no header could carry
        raise StepsizeError("the API key is none: check STEPSIZE_API_KEY, or what api_key is given")
    if urlsplit(base).scheme not in {"http", "https"}:
        raise UnreachableError(f"{base} is no http:// or https:// address: set STEPSIZE_URL")
    return httpx.Client(
        base_url=base,
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(timeout, connect=min(timeout, 5.0)),
        transport=transport,
        # a proxy from the environment cannot know this machine's own addresses
        trust_env=urlsplit(base).hostname not in {"127.0.0.1", "localhost", "::1"},
    )


def send(
    http: httpx.Client,
    method: str,
    path: str,
    *,
    params: Mapping[str, Any] | None = None,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    stream: bool = False,
    silence: float | None = None,
) -> httpx.Response:
    """The server's answer; every request made here can be repeated without harm.

    With `stream` the body is left to be read, and the answer to be closed; `silence` is for how
    many seconds nothing of it may arrive, by default as long as any answer may take.

    Raises:
        UnreachableError: no answer came, not even after trying again.
        ApiError: the server refused.
    """
    given = {name: value for name, value in (params or {}).items() if value is not None}
    request = http.build_request(method, path, params=given, json=body, headers=headers)
    if silence is not None:
        request.extensions["timeout"]["read"] = silence
    for pause in (*PAUSES, None):
        try:
            response = http.send(request, stream=stream)
        except httpx.TimeoutException as error:
            raise UnreachableError(f"{http.base_url} did not answer in time") from error
        except httpx.TransportError as error:
            if pause is None:
                raise _unreachable(http, error) from error
        else:
            if pause is None or not _in_flight(response):
                break
            response.close()
        time.sleep(pause)
    if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
        return response
    with contextlib.closing(response):
        response.read()
    raise _refusal(http, response)


def parse(answer: type[Answer], response: httpx.Response, *, home: object = None) -> Answer:
    """The body as a value of the type it should have; jobs and sweeps in it belong to `home`."""
    try:
        return answer.model_validate_json(response.content, context=home)
    except ValidationError as error:
        raise NotStepsizeError(
            f"{response.url} answered what no stepsize server does: is STEPSIZE_URL right?"
        ) from error


def once(key: str | None) -> dict[str, str]:
    """The header by which a submission that is sent again is known."""
    return {"Idempotency-Key": key or uuid.uuid4().hex}


def _in_flight(response: httpx.Response) -> bool:
    """Whether the server is still busy with this very request, whose answer was lost before."""
    return response.status_code == httpx.codes.CONFLICT and "Retry-After" in response.headers


def _unreachable(http: httpx.Client, error: httpx.TransportError) -> UnreachableError:
    url = str(http.base_url).rstrip("/")
    if isinstance(error, httpx.ConnectError):
        return UnreachableError(
            f"no stepsize server at {url}: start one with `stepsize up` or set STEPSIZE_URL"
        )
    return UnreachableError(f"the connection to {url} was lost: {error}")


def _refusal(http: httpx.Client, response: httpx.Response) -> ApiError:
    try:
        problem = _Problem.model_validate_json(response.content)
    except ValidationError:
        problem = _Problem()
    path = http.base_url.path.strip("/")
    nothing = problem.detail in {None, "", problem.title} and not problem.errors
    if response.status_code == httpx.codes.NOT_FOUND and nothing and path:
        detail = f"STEPSIZE_URL ends in /{path}, where no stepsize server answers: leave that out"
        problem = problem.model_copy(update={"detail": detail})
    return ApiError(
        response.status_code,
        problem.title or response.reason_phrase or "refused",
        detail=problem.detail or "",
        errors=tuple(problem.errors),
    )
