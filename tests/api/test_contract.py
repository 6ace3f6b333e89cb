"""The server does what openapi.json says: requests are made from it, and every check is on.

`make fuzz` makes thousands up for each route; a plain run tries fewer.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import ignored_auth
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import create_app
from migrations.run import upgrade
from spec.access import ANYONE
from spec.settings import Settings
from spec.states import State
from spec.sweeps import SweepSpec
from store import deliveries, sweeps, webhooks, workers
from store.database import Sessions, connect
from store.files import opened
from store.tables import metadata
from tests.api.conftest import NotedBroker
from tests.factories import COMMON, prepared, record, rows, saved, training_json

GIVEN = os.environ.get("STEPSIZE_FUZZ_CASES")
CASES = int(GIVEN or 20)
"""Made up at random for each route, besides those at the edges of all of its values."""
SEED = int(os.environ.get("STEPSIZE_FUZZ_SEED", "1"))

SERVER = "http://127.0.0.1"

WORKER = "cpu-1@host"
ROWS = 20

WITH_CONDITIONS = [
    "POST /v1/jobs",
    "POST /v1/jobs:batch",
    "POST /v1/schedules/preview",
    "GET /v1/jobs/{job_id}/series",
    "GET /v1/series",
    "POST /v1/keys",
    "POST /v1/sweeps",
    "POST /v1/sweeps/preview",
    "POST /v1/retention",
    "POST /v1/webhooks",
    "PATCH /v1/webhooks/{webhook_id}",
]
"""Ask for what no JSON Schema can promise: bounds that do not cross, names that are known,
an end that is to come, an address that is public."""

ENDLESS = ["/events"]
"""What the paths of streams end with: tests of their own read them to the end."""

KEY = "ss_0123456789abcdef"
CALLERS = {"anyone": {}, "key": {"Authorization": f"Bearer {KEY}"}}
"""The headers of every request; where there is a key, the server wants it. A plain run has one."""

CONFIG = {
    "generation": {"with-security-parameters": False},  # CALLERS are those who ask
    "operations": [
        {
            "include-name": WITH_CONDITIONS,
            "checks": {
                "positive_data_acceptance": {"expected-statuses": ["2xx", "404", "409", "422"]}
            },
        },
        *(
            # thousands of cases, of what is a part of POST /v1/jobs as well
            {"include-name": name, "phases": {"coverage": {"enabled": GIVEN is not None}}}
            for name in ("POST /v1/jobs:batch", "POST /v1/schedules/preview")
        ),
    ],
}

SCHEMA = schemathesis.openapi.from_path(
    Path(__file__).parents[2] / "openapi.json", config=schemathesis.Config.from_dict(CONFIG)
).exclude(path_regex=rf"({'|'.join(ENDLESS)})$")

HYPOTHESIS = settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),  # specs are large
)


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sessions]:
    found = connect(f"sqlite:///{tmp_path_factory.mktemp('contract') / 'stepsize.db'}")
    upgrade(found)
    yield found
    found.close()


@dataclass(frozen=True)
class Server:
    """An application, and the headers of all that it is asked."""

    app: ASGIApp
    headers: dict[str, str]


@pytest.fixture(scope="module", params=list(CALLERS) if GIVEN else ["key"])
def server(
    request: pytest.FixtureRequest, sessions: Sessions, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    headers = CALLERS[request.param]
    told = Settings(
        database_url=sessions.engine.url.render_as_string(),
        broker_url="redis://unused",
        data_dir=tmp_path_factory.mktemp("data"),
        api_key=KEY if headers else None,
        requests_per_minute=1_000_000,
    )
    opened(told.checkpoints).write(saved(ROWS).file, b"w")
    yield Server(without_lifespan(create_app(sessions, NotedBroker(), told)), headers)
    asgi.shutdown_lifespans()


def without_lifespan(app: ASGIApp) -> ASGIApp:
    """The app alone, without the threads of a server."""

    async def alone(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await app(scope, receive, send)

    return alone


@pytest.fixture
def there(sessions: Sessions) -> Iterator[dict[str, str]]:
    """Ids of jobs in every state, over and over, of a sweep, of a webhook; there are no others."""
    with sessions.begin() as tx:
        for table in reversed(metadata.sorted_tables):
            tx.execute(table.delete())
        workers.report(
            tx,
            name=WORKER,
            device="cpu",
            state="idle",
            job_id=None,
            queues=["default"],
            versions={"torch": "2.13.0"},
            started_at=datetime.now(UTC),
        )
        sweep_id = sweeps.add(
            tx,
            SweepSpec.model_validate(
                {"template": training_json(), "space": {"/seed": [0]}}
            ).model_dump(mode="json"),
            by=ANYONE,
            name=None,
            promised=1,
            parallel=None,
            one_for_one=False,
            ending=None,
        ).id
        webhook = webhooks.add(tx, owner=ANYONE.owner, url="https://hooks.example/")
        common = {
            "sweep_id": sweep_id,
            "webhook_id": webhook.id,
            "delivery_id": deliveries.ping(tx, webhook).id,
        }
    ids = []
    for state in sorted(State, key=State.QUEUED.__eq__):  # last: others claim what is queued
        lease = prepared(sessions, state)
        ids.append(lease.job_id)
        if state == State.RUNNING:
            record(sessions, lease, ROWS, rows(0, ROWS), checkpoints=[saved(ROWS)])
    return ({"job_id": job_id, **common} for job_id in cycle(ids))


@SCHEMA.parametrize()
@pytest.mark.timeout(0 if GIVEN else 300)
@HYPOTHESIS
@seed(SEED)
def test_every_route(case: Case, server: Server, there: Iterator[dict[str, str]]) -> None:
    name_what_is_there(case, next(there))
    case.operation.schema.app = server.app  # for what checks ask themselves
    case.call_and_validate(
        base_url=SERVER,
        headers=dict(server.headers),
        # a server without a key asks for none
        excluded_checks=[] if server.headers else [ignored_auth],
        app=server.app,
    )


def name_what_is_there(case: Case, ids: dict[str, str]) -> None:
    """Puts what exists in the place of valid names: made-up ones are found nowhere."""
    known = {**ids, "iteration": ROWS, "name": WORKER}
    if valid(case, ParameterLocation.PATH):
        case.path_parameters |= {
            name: known[name] for name in known.keys() & case.path_parameters.keys()
        }
    if valid(case, ParameterLocation.QUERY) and "jobs" in (case.query or {}):
        case.query["jobs"] = ids["job_id"]
    if valid(case, ParameterLocation.BODY) and isinstance(case.body, dict):
        if "template" in case.body:
            case.body["template"] = training_json()
        for spec in [case.body, *case.body.get("jobs", [])]:
            spec |= {part: value for part, value in COMMON.items() if part in spec}


def valid(case: Case, where: ParameterLocation) -> bool:
    made = case.meta and case.meta.components.get(where)
    return made is not None and made.mode == GenerationMode.POSITIVE
