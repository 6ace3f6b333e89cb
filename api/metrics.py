"""Figures for Prometheus: `GET /metrics`, and how long requests take."""

import time

from fastapi import APIRouter, Request, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.watching import route_of

router = APIRouter(tags=["health"])

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)

NOT_ALLOWED = 405


class Metrics:
    """What one API process tells: of itself, and what the collectors tell."""

    def __init__(self, *collectors: Collector) -> None:
        self._registry = CollectorRegistry()
        for collector in collectors:
            self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        self._seconds = Histogram(
            "stepsize_request_seconds",
            "Time until an answer began, by route; without answers that were to wait (Prefer).",
            ["method", "route", "status"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._answers = Counter(
            "stepsize_answers", "Answers by status.", ["status"], registry=self._registry
        )

    def answered(self, scope: Scope, start: Message, *, seconds: float) -> None:
        """An answer has begun."""
        status: int = start["status"]
        self._answers.labels(str(status)).inc()
        if "preference-applied" in Headers(raw=start["headers"]):
            return  # it was held on purpose
        # a route says its pattern, not the ids; and where there is none, clients make up methods
        route = route_of(scope)
        known = route and status != NOT_ALLOWED
        labels = (scope["method"] if known else "", route, f"{status // 100}xx")
        self._seconds.labels(*labels).observe(seconds)

    def written(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self._registry)


class Metered:
    """Measures how long answers take to begin."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                took = time.perf_counter() - began
                self._metrics.answered(scope, message, seconds=took)
            await send(message)

        await self.app(scope, receive, noted)


@router.get(
    "/metrics",
    operation_id="get_metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def read(request: Request) -> Response:
    """The service in figures, in the text format of Prometheus."""
    metrics: Metrics = request.app.state.metrics
    return Response(metrics.written(), media_type=CONTENT_TYPE_LATEST)
