"""Whatever bytes arrive, the server answers with what it promises, and lives."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.app import create_app
from spec.settings import Settings
from store.database import Sessions
from tests.api.conftest import NotedBroker
from tests.asgi import Answer, asked
from tests.factories import claimed, queued, range_test_json, record, rows, training_json

GIVEN = os.environ.get("STEPSIZE_FUZZ_CASES")

HYPOTHESIS = settings(
    max_examples=int(GIVEN or 150),
    derandomize=GIVEN is None,
    deadline=None,
    database=None,
    # one database serves all cases
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
pytestmark = [
    pytest.mark.timeout(0 if GIVEN else 120),
    # what is fuzzed is in front of the database; tests/store has both
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]

JOB = "job_00000000000000000000000000000000"
READ = (
    "/v1/jobs",
    "/v1/jobs/{job}",
    "/v1/jobs/{job}/series",
    "/v1/jobs/{job}/series/summary",
    "/v1/jobs/{job}/checkpoints",
    "/v1/jobs/{job}/checkpoints/1",
    "/v1/series",
    "/v1/workers",
    "/v1/schedules",
    "/v1/models",
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/",
)
WRITTEN = (
    "/v1/jobs",
    "/v1/jobs:batch",
    "/v1/jobs/preview",
    "/v1/schedules/preview",
    "/v1/sweeps/preview",
)
"""Paths that take a body."""
MOVES = tuple(f"/v1/jobs/{{job}}/{verb}" for verb in ("cancel", "pause", "resume", "retry"))
LOCAL = (b"Host", b"127.0.0.1")

HEADERS = (
    "Accept",
    "Accept-Encoding",
    "Authorization",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "Cookie",
    "Expect",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "Origin",
    "Prefer",
    "Range",
    "Transfer-Encoding",
    "X-Forwarded-For",
    "X-HTTP-Method-Override",
    "X-Request-ID",
)
TOLD = st.sampled_from(
    [
        b"",
        b"*",
        b'W/"1"',
        b'"1", "2"',
        b"wait=1",
        b"wait=99999999999999999999",
        b"wait=-1, respond-async",
        b"gzip",
        b"gzip;q=nan, zstd",
        b"text/csv",
        b"text/csv;q=0, */*",
        b"application/vnd.apache.arrow.stream",
        b"application/json; charset=utf-16",
        b"multipart/form-data",
        b"application/x-www-form-urlencoded",
        b"-1",
        b"1e3",
        b"9" * 40,
        b"9" * 5000,
        "\u0663".encode(),
        b"Bearer " + b"\xff" * 40,
        b"x" * 5000,
        b"../../etc/passwd",
    ]
)
VALUES = TOLD | st.binary(max_size=60).map(lambda each: each.translate(None, b"\r\n\0"))

ODD = st.sampled_from(
    [
        0,
        -1,
        -0.0,
        1e400,
        -1e400,
        float("nan"),
        5e-324,
        2**53,
        2**63,
        10**400,
        True,
        "",
        "\0",
        "\ud800",
        "\U0010ffff",
        "a" * 3000,
        "__proto__",
        "../../x",
        "' OR 1=1 --",
        {},
        [],
        {"": {}},
        {"$ref": "#"},
        {"range_test": JOB},
        {"epochs": 1e300},
        None,
    ]
)
JSON = st.recursive(
    ODD | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)
NESTED = st.tuples(st.sampled_from([b"[", b'{"a":', b'{"jobs":[']), st.integers(1, 100_000)).map(
    lambda each: each[0] * each[1]
)


def _sweep(**fields: Any) -> dict[str, Any]:
    peaks = {"low": 0.01, "high": 1, "log": True, "points": 3}
    return {"template": training_json(**fields), "space": {"/schedule/max_lr": peaks}}


def _recipe(**fields: Any) -> dict[str, Any]:
    template = training_json(**fields)
    del template["schedule"]
    return {
        "kind": "recipe",
        "template": template,
        "find": {"name": "coarse_to_fine", "low": 1e-3},
        "schedules": [{"policy": "sgdr"}, {"policy": "cosine", "warmup": 3, "lr": 0.1}],
        "seeds": [0, 1],
        "budget": {"parallel": 2},
    }


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A spec that was valid, with odd values in some of its places."""
    made = draw(st.sampled_from([training_json, range_test_json, _sweep, _recipe]))
    spec = deepcopy(made(tags={"a": "b"}, name="x"))
    for _ in range(draw(st.integers(1, 3))):
        at: Any = spec
        while isinstance(at, dict) and at:
            key = draw(st.sampled_from(sorted(at)))
            if not isinstance(at[key], dict) or draw(st.booleans()):
                at[key] = deepcopy(draw(JSON))
                break
            at = at[key]
    return spec


@st.composite
def twice(draw: st.DrawFn) -> bytes:
    """An object with a key that is there twice."""
    text = json.dumps(training_json())
    return text.replace("{", '{"kind": ' + json.dumps(draw(ODD)) + ", ", 1).encode()


BODIES = (
    st.binary(max_size=300)
    | NESTED
    | twice()
    | (JSON | mutated()).map(lambda each: json.dumps(each).encode())
    | mutated().map(lambda each: json.dumps({"jobs": [each, training_json()]}).encode())
    | mutated().map(lambda each: json.dumps(each, ensure_ascii=True).encode("utf-16"))
    | st.just(json.dumps(training_json()).encode()).map(lambda each: b"\xef\xbb\xbf" + each)
)
QUERIES = st.binary(max_size=80) | st.lists(
    st.tuples(
        st.sampled_from(
            [
                "state",
                "kind",
                "name",
                "q",
                "tag",
                "limit",
                "cursor",
                "names",
                "start",
                "stop",
                "points",
                "repeat",
                "jobs",
                "%00",
            ]
        ),
        st.sampled_from(
            [
                "loss",
                "loss,lr",
                "loss,loss",
                ",",
                "failed",
                "succeeded",
                "job_",
                "job_0",
                "%00",
                "%ff",
                "%ED%A0%80",
                "a%3Ab",
                "%3A",
                "%27",
                "%25",
                "-1",
                "0",
                "1",
                "2",
                "1e3",
                "NaN",
                "4611686018427387904",
                "٣",
                "",
            ]
        ),
    ),
    max_size=6,
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs).encode())


Ask = Callable[..., None]


@pytest.fixture
def ask(sessions: Sessions, settings: Settings) -> Iterator[Ask]:
    """Asks a server that has a running job, and looks at its answer; at last at its health."""
    job = queued(sessions)
    record(sessions, claimed(sessions), 20, rows(0, 20))
    app = create_app(sessions, NotedBroker(), settings)
    app.state.changes.close()  # nobody waits
    with asyncio.Runner() as runner:

        def ask(method: str, path: str | bytes, *, whole: bool = True, **more: Any) -> None:
            if isinstance(path, str):
                path = path.format(job=job.id).encode()
            more["headers"] = [LOCAL, *more.get("headers", [])]
            answer = runner.run(asked(app, method, path, whole=whole, **more))
            if answer or whole:
                sound(answer)

        yield ask
    healthy = TestClient(app, base_url="http://127.0.0.1")
    assert healthy.get("/readyz").json() == {"status": "ok"}
    assert healthy.post("/v1/jobs", json=training_json()).status_code == 201
    assert healthy.get("/v1/jobs").status_code == 200


def sound(answer: Answer | None) -> None:
    """What is true of every answer, whatever was asked."""
    assert answer is not None
    assert answer.status < 500, answer
    assert answer.headers["x-request-id"]
    if answer.status >= 400:
        assert answer.headers["content-type"] == "application/problem+json", answer
        problem = json.loads(answer.body)
        assert problem["status"] == answer.status
        assert problem["title"]
        for each in problem.get("errors", []):
            assert each["detail"]
            assert each["pointer"][:1] in {"", "/"}
    elif answer.headers.get("content-type") == "application/json" and answer.body.startswith(b"{"):
        json.loads(answer.body, parse_constant=pytest.fail)


HEADER = st.tuples(st.sampled_from(HEADERS).map(str.encode), VALUES)
ANY_JSON = (b"Content-Type", b"application/json")


@HYPOTHESIS
@given(path=st.sampled_from(WRITTEN), body=BODIES)
def test_any_body(ask: Ask, path: str, body: bytes) -> None:
    ask("POST", path, headers=[ANY_JSON], body=[body])


@HYPOTHESIS
@given(path=st.sampled_from(WRITTEN), body=BODIES, headers=st.lists(HEADER, max_size=4))
def test_any_body_of_any_type(
    ask: Ask, path: str, body: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    ask("POST", path, headers=headers, body=[body])


@HYPOTHESIS
@given(
    path=st.sampled_from(WRITTEN + MOVES),
    parts=st.lists(st.binary(max_size=400_000), max_size=4),
    announced=st.integers(-1, 10**7) | st.sampled_from([b"", b"x", b"+1", b"1, 1", b"9" * 5000]),
    whole=st.booleans(),
)
def test_bodies_that_are_not_what_was_announced(
    ask: Ask, path: str, parts: list[bytes], announced: int | bytes, *, whole: bool
) -> None:
    told = announced if isinstance(announced, bytes) else str(announced).encode()
    headers = [ANY_JSON, (b"Content-Length", told)]
    ask("POST", path, headers=headers, body=parts, whole=whole)


@HYPOTHESIS
@given(
    path=st.sampled_from(READ),
    method=st.sampled_from(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "PROPFIND", "get", "\xff"]),
    headers=st.lists(HEADER, max_size=8),
)
def test_any_headers(ask: Ask, path: str, method: str, headers: list[tuple[bytes, bytes]]) -> None:
    ask(method, path, headers=headers)


@HYPOTHESIS
@given(key=VALUES, body=st.sampled_from([b"{}", json.dumps(training_json()).encode()]))
def test_any_idempotency_key(ask: Ask, key: bytes, body: bytes) -> None:
    for _ in range(2):
        ask("POST", "/v1/jobs", headers=[ANY_JSON, (b"Idempotency-Key", key)], body=[body])


@HYPOTHESIS
@given(path=st.sampled_from(READ), query=QUERIES)
def test_any_query(ask: Ask, path: str, query: bytes) -> None:
    ask("GET", path, query=query)


@HYPOTHESIS
@given(host=VALUES)
def test_any_host(ask: Ask, host: bytes) -> None:
    ask("GET", "/v1/jobs", headers=[(b"Host", host)])


@HYPOTHESIS
@given(
    method=st.sampled_from(["GET", "POST", "DELETE"]),
    under=st.sampled_from(
        ["/", "/v1/jobs/", "/v1/jobs/{job}/checkpoints/", "/v1/workers/", "/docs"]
    ),
    rest=st.binary(max_size=40),
    end=st.sampled_from(["", "/series", "/cancel", "/drain", "/checkpoints/1", "/"]),
)
def test_any_path(ask: Ask, method: str, under: str, rest: bytes, end: str) -> None:
    ask(method, under.replace("{job}", JOB).encode() + rest + end.encode(), body=[b"{}"])
