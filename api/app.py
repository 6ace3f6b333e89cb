"""Puts the application together from its parts."""

import re
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from importlib import resources
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from api import (
    audit,
    batches,
    catalogue,
    checkpoints,
    comparisons,
    contract,
    events,
    health,
    jobs,
    judgments,
    keys,
    metrics,
    moves,
    owners,
    picks,
    problems,
    schedules,
    series,
    session,
    sweeps,
    webhooks,
    workers,
)
from api.access import Admission, Gate
from api.broker import Broker
from api.changes import Changes
from api.deliverer import Deliverer
from api.figures import Figures, Process
from api.frames import Frames
from api.keeping import Keeper
from api.metrics import Metered, Metrics
from api.middleware import BodyLimit, OnlyHosts, Problems, RequestIds
from api.reconciler import Reconciler
from api.streams import Streams
from api.sweeper import Sweeper
from api.watching import Watched
from spec.settings import LOOPBACK, Settings
from store.database import Sessions
from store.files import Files, opened

DESCRIPTION = """
Range tests and trainings under learning-rate schedules, every iteration recorded.

Submit with `POST /v1/jobs`, follow with `GET /v1/jobs/{id}`, read the curves with
`GET /v1/jobs/{id}/series`. Errors are `application/problem+json` and name the field.
"""

DOCUMENTATION_POLICY = (
    "default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""As strict as everywhere, but for the one script that is written into the page itself."""

NOT_COMPRESSED: dict[str, Any] = {
    "exclude_content_types": (
        *DEFAULT_EXCLUDED_CONTENT_TYPES,
        "application/octet-stream",  # checkpoints: weights do not compress
        "application/vnd.apache.arrow.stream",
        "application/vnd.apache.parquet",
    )
}

CORS: dict[str, Any] = {
    "allow_methods": ("GET", "POST", "PUT", "PATCH", "DELETE"),
    "allow_headers": (
        "Authorization",
        "Idempotency-Key",
        "If-None-Match",
        "Last-Event-ID",
        "Prefer",
        "X-Request-ID",
    ),
    "expose_headers": (
        "ETag",
        "Idempotency-Replayed",
        "Link",
        "Location",
        "Preference-Applied",
        "Retry-After",
        "Series-Damaged",
        "X-Request-ID",
    ),
}
"""What pages of other origins may send and read, beyond what every page may."""


class _Api(FastAPI):
    """An application whose contract is made once, and says more than its routes alone."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = contract.made(super().openapi())
        return self.openapi_schema


def create_app(
    sessions: Sessions, broker: Broker, settings: Settings, files: Files | None = None
) -> FastAPI:
    """The API over a database and a broker; its lifespan runs the publisher and the reconciler.

    `files` are where checkpoints lie, by default the place that the settings name.
    """
    files = opened(settings.checkpoints) if files is None else files
    keeper = Keeper(sessions, files)
    reconciler = Reconciler(sessions, broker, settings, [keeper.sweep, keeper.count])
    sweeper = Sweeper(sessions, broker, lost_after=settings.lease)
    deliverer = Deliverer(sessions, settings.webhooks_private)
    changes = Changes(sessions)
    gate = Gate(sessions, settings)
    streams = Streams(Frames(sessions), changes)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        broker.start()
        reconciler.start()
        sweeper.start()
        deliverer.start()
        yield
        changes.close()
        streams.frames.close()
        deliverer.stop()
        sweeper.stop()
        reconciler.stop()
        broker.stop()
        sessions.close()

    app = _Api(
        title="stepsize",
        version=version("stepsize"),
        summary="Finds and runs learning-rate schedules, every iteration recorded.",
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.sessions = sessions
    app.state.broker = broker
    app.state.gate = gate
    app.state.metrics = Metrics(
        Figures(sessions, lost_after=settings.lease),
        Process(sessions, reconciler.passes, streams, changes),
    )
    app.state.changes = changes
    app.state.deliverer = deliverer
    app.state.streams = streams
    app.state.settings = settings
    app.state.files = files
    problems.install(app)
    for resource in (
        jobs,
        batches,
        moves,
        sweeps,
        judgments,
        picks,
        checkpoints,
        series,
        comparisons,
        events,
        schedules,
        catalogue,
        workers,
        webhooks,
        keys,
        owners,
        audit,
        session,
        health,
        metrics,
    ):
        app.include_router(resource.router)
    _serve_documentation(app)
    # last, because it answers whatever is left
    app.frontend("/", directory=str(resources.files("dashboard")), fallback=None)

    # the last one added is the first to see a request
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=1, **NOT_COMPRESSED)
    app.add_middleware(Admission, gate=gate)
    if not gate.wanted:
        # Only this machine may ask without a key; a foreign page that resolves its own name to
        # the loopback address would still send that name.
        app.add_middleware(OnlyHosts, hosts=LOOPBACK)
    app.add_middleware(BodyLimit)
    app.add_middleware(Problems)
    if settings.cors_origins:
        # before the key is asked for: a browser asks first whether it may, and without one
        app.add_middleware(CORSMiddleware, allow_origins=settings.cors_origins, **CORS)
    app.add_middleware(Metered, metrics=app.state.metrics)
    app.add_middleware(Watched)
    app.add_middleware(RequestIds)
    return app


def _serve_documentation(app: FastAPI) -> None:
    # the assets come from an installed package: the documentation works without a network
    assets = resources.files("fastapi_offline") / "static"
    app.mount("/docs/assets", StaticFiles(directory=str(assets)), name="docs-assets")
    page = bytes(
        get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="stepsize API",
            swagger_js_url="/docs/assets/swagger-ui-bundle.js",
            swagger_css_url="/docs/assets/swagger-ui.css",
            swagger_favicon_url="/docs/assets/favicon.png",
        ).body,
    )
    (script,) = re.findall(rb"<script>(.*?)</script>", page, re.DOTALL)
    digest = b64encode(sha256(script).digest()).decode()
    headers = {"Content-Security-Policy": DOCUMENTATION_POLICY.format(digest=digest)}

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page, headers=headers)
