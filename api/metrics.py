"""Figures for Prometheus: requests, jobs and workers by state."""

import time
from collections.abc import Iterable
from datetime import timedelta
from http import HTTPStatus
from typing import get_args

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spec.states import State
from store import recovery, workers
from store.database import Sessions

router = APIRouter(tags=["health"])

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)


class _Pool(Collector):
    """Counts jobs and workers when it is asked."""

    def __init__(self, sessions: Sessions, lost_after: timedelta) -> None:
        self._sessions = sessions
        self._lost_after = lost_after

    def describe(self) -> Iterable[Metric]:
        """Nothing is counted before somebody asks."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """How many jobs and workers are in each state."""
        with self._sessions.read() as tx:
            counts = recovery.counts(tx)
            found = workers.find(tx, lost_after=self._lost_after)
        jobs = GaugeMetricFamily("stepsize_jobs", "Jobs by state.", labels=["state"])
        for state in State:
            jobs.add_metric([state], counts.get(state, 0))
        yield jobs
        nodes = GaugeMetricFamily("stepsize_workers", "Workers by state.", labels=["state"])
        for name in get_args(workers.WorkerState):
            nodes.add_metric([name], sum(each.state == name for each in found))
        yield nodes


class Metrics:
    """What one API process counts."""

    def __init__(self, sessions: Sessions, *, lost_after: timedelta) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Pool(sessions, lost_after))
        self.requests = Histogram(
            "stepsize_request_seconds",
            "Time until an answer began, by route.",
            ["method", "route", "status"],
            buckets=BUCKETS,
            registry=self._registry,
        )

    def written(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self._registry)


class Metered:
    """Measures how long answers take to begin."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app = app
        self._requests = metrics.requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                # the pattern of the route: with every id of its own there would be no end of them,
                # nor with methods that clients make up
                route = getattr(scope.get("route"), "path", "")
                status = message["status"]
                known = route and status != HTTPStatus.METHOD_NOT_ALLOWED
                labels = (scope["method"] if known else "", route, str(status))
                self._requests.labels(*labels).observe(time.perf_counter() - began)
            await send(message)

        await self.app(scope, receive, noted)


@router.get(
    "/metrics",
    operation_id="get_metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def read(request: Request) -> Response:
    """Requests, jobs and workers in figures, in the text format of Prometheus."""
    metrics: Metrics = request.app.state.metrics
    return Response(metrics.written(), media_type=CONTENT_TYPE_LATEST)
