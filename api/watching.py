"""Every request in the log, and in a trace where these are made."""

import logging
import re
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spec.access import Caller
from telemetry import context, traces
from telemetry.traces import Span

log = logging.getLogger(__name__)

UNSEEN = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds by machines: neither logged nor traced, while all is well."""

_JOB = re.compile(r"job_[0-9a-z]{1,60}", re.ASCII)

SERVER_ERROR = 500


def route_of(scope: Scope) -> str:
    """The pattern of the route: with every id of its own there would be no end of them."""
    return getattr(scope.get("route"), "path_format", "")


class Watched:
    """Logs requests when they are over, and makes a span of each.

    The span is a child of the one that a client names in `traceparent`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, took = time.perf_counter(), 0, 0.0

        async def noted(message: Message) -> None:
            nonlocal status, took
            if message["type"] == "http.response.start":
                status, took = message["status"], time.perf_counter() - began
            await send(message)

        state = scope["state"]
        with context.about(request_id=state["request_id"]):
            if scope["path"] in UNSEEN:
                await self.app(scope, receive, noted)
                if status < SERVER_ERROR:
                    return
                _tell(scope, status, took)
                return
            given = traces.valid(Headers(scope=scope).get("traceparent"))
            with traces.span("HTTP", parent=given, kind="SERVER") as span:
                state["traceparent"] = span.traceparent
                try:
                    await self.app(scope, receive, noted)
                finally:
                    _name(span, scope, status)
                    _tell(scope, status, took)


def _name(span: Span, scope: Scope, status: int) -> None:
    route = route_of(scope)
    span.rename(f"{_method(scope)} {route}".rstrip())
    span.note(
        {
            "http.request.method": _method(scope),
            "http.route": route or None,
            "http.response.status_code": status or None,
            "request_id": scope["state"]["request_id"],
            "job": _job(scope),
        }
    )
    if status >= SERVER_ERROR:
        span.fail(str(status))


def _tell(scope: Scope, status: int, took: float) -> None:
    caller: Caller | None = scope["state"].get("caller")
    method, route, ms = _method(scope), route_of(scope), round(took * 1000, 1)
    with context.about(job=_job(scope), owner=caller.owner if caller else None):
        log.log(
            logging.WARNING if status >= SERVER_ERROR else logging.INFO,
            "request %s %s %s %s ms",
            method,
            route or "-",
            status or "-",  # its client went away before
            ms,
            extra={
                "method": method,
                "route": route or None,
                "status": status or None,
                "ms": ms,
                "caller": caller and caller.name,
            },
        )


def _method(scope: Scope) -> str:
    """One that a route has, not one that a client makes up."""
    return scope["method"] if scope["method"] in METHODS else "_OTHER"


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _job(scope: Scope) -> str | None:
    found = scope.get("path_params", {}).get("job_id")
    return found if isinstance(found, str) and _JOB.fullmatch(found) else None
