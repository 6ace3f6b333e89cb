"""What happens around every request: an id, hosts that are answered, a limit, faults."""

import logging
import re
import uuid
from collections.abc import Collection
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import answer

log = logging.getLogger(__name__)

MAX_BODY = 1_000_000
"""Bytes of a request body; a job spec is a few hundred."""

LARGER_BODIES = {"/v1/jobs:batch": 8_000_000}
"""Path -> bytes, where a body holds many specs."""

_DIGITS = 18
"""Of a length; Python refuses to read numbers of thousands."""

_SANE_ID = re.compile(r"^[A-Za-z0-9._-]{1,128}$")

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    # text never becomes markup: a browser that knows this refuses innerHTML and its like
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

SECURITY = {
    "Cache-Control": "no-cache",  # ask first: modules of two versions do not fit together
    "Content-Security-Policy": CONTENT_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer that does not set them itself."""


class RequestIds:
    """Gives every answer an X-Request-ID (the client's own where it is sane) and safe headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _SANE_ID.match(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class Problems:
    """Makes problems of what else would be none: faults of the server, refusals by libraries."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = refused = False

        async def send_problems(message: Message) -> None:
            nonlocal started, refused
            if refused:  # the text of another answer
                return
            if message["type"] == "http.response.start":
                started = True
                if message["status"] >= HTTPStatus.BAD_REQUEST:
                    given = Headers(raw=message["headers"])
                    refused = given.get("content-type", "").startswith("text/plain")
                if refused:
                    await answer(message["status"])(scope, receive, send)
                    return
            await send(message)

        try:
            await self.app(scope, receive, send_problems)
        except Exception:
            request_id = scope["state"]["request_id"]
            log.exception("request.failed id=%s %s %s", request_id, scope["method"], scope["path"])
            if started:
                raise
            fault = answer(500, f"a fault of the server; its log has the request {request_id}")
            await fault(scope, receive, send)


class BodyLimit:
    """Answers 413 to a body of more bytes than its path may have, announced or not."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = LARGER_BODIES.get(scope["path"], MAX_BODY)
        detail = f"the body is larger than {limit} bytes"
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdecimal():
            await answer(400, "Content-Length must be a number")(scope, receive, send)
            return
        if len(announced) > _DIGITS or int(announced) > limit:
            await answer(413, detail)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, detail)
            return message

        await self.app(scope, counted, send)


class OnlyHosts:
    """Answers 421 to requests for any host but the given ones, whatever their port."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str]) -> None:
        self.app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        named = Headers(scope=scope).get("host", "")
        host = named.partition("]")[0].lstrip("[") if "[" in named else named.partition(":")[0]
        if host.lower() in self._hosts:
            await self.app(scope, receive, send)
            return
        detail = "where no key is wanted only this machine is answered; ask for http://127.0.0.1"
        await answer(421, detail)(scope, receive, send)
