"""The server does what its contract says: cases made from openapi.json, every check on."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, seed, settings
from schemathesis import Case
from schemathesis.python import asgi
from schemathesis.schemas import BaseSchema
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import create_app
from migrations.run import upgrade
from spec.settings import Settings
from store.database import Sessions, connect
from tests.api.conftest import NotedBroker
from tests.factories import claimed, queued, record, rows

REFUSABLE = ("POST /v1/jobs", "POST /v1/jobs:batch", "POST /v1/schedules/preview", "GET /v1/series")
"""What no JSON Schema can say of a request: bounds that cross, a job that is not there."""

CONFIG = {
    "operations": [
        {
            "include-name": list(REFUSABLE),
            "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", 404, 422]}},
        }
    ]
}

COUNT = {}
TIME = {}
import atexit; atexit.register(lambda: open("/tmp/cx/count","w").write(repr((COUNT,TIME))))
SCHEMA = schemathesis.openapi.from_path(
    Path(__file__).parents[2] / "openapi.json",
    config=schemathesis.Config.from_dict(CONFIG),
)

CASES = int(os.environ.get("STEPSIZE_FUZZ_CASES", "30"))
"""Made up for each route, besides those at the edges of its values."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[requests.Session]:
    folder = tmp_path_factory.mktemp("contract")
    url = f"sqlite:///{folder / 'stepsize.db'}"
    sessions = connect(url)
    upgrade(sessions)
    settings = Settings(database_url=url, broker_url="redis://unused", data_dir=folder)
    app = without_lifespan(create_app(sessions, NotedBroker(), settings))
    with asgi.get_client(app) as client:
        yield client
    asgi.shutdown_lifespans()
    sessions.close()


def without_lifespan(app: ASGIApp) -> ASGIApp:
    """The app alone, without the threads of a server."""

    async def alone(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await app(scope, receive, send)

    return alone


@SCHEMA.parametrize()
@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@seed(1)
def test_every_route(case: Case, server: requests.Session) -> None:
    COUNT[case.operation.label] = COUNT.get(case.operation.label, 0) + 1; import time; t=time.perf_counter()
    case.call_and_validate(base_url="http://127.0.0.1", session=server); TIME[case.operation.label]=TIME.get(case.operation.label,0)+time.perf_counter()-t
