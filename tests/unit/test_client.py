"""The client against a server that is a function: what it asks, bears, and makes of answers."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from stepsize import ApiError, Client, Job, StepsizeError, UnreachableError, range_test
from stepsize.errors import NotStepsizeError

URL = "http://stepsize.test"
JOB: dict[str, Any] = {
    "id": "job_1",
    "kind": "range_test",
    "state": "queued",
    "name": None,
    "spec": {"kind": "range_test", "repeats": 3},
    "progress": {"iteration": 0, "iterations": None},
    "result": None,
    "error": None,
    "attempt": 0,
    "sweep": None,
    "created_at": "2026-01-31T12:00:00Z",
    "started_at": None,
    "finished_at": None,
    "a_later_addition": [1],
}
SUGGESTION = {"base_lr": 0.001, "max_lr": 0.006, "fixed_lr": 0.003}
DONE = {**JOB, "state": "succeeded", "result": {"status": "ok", "suggestion": SUGGESTION}}

Handler = Callable[[httpx.Request], httpx.Response]


def client_of(handler: Handler) -> Client:
    return Client(URL, "ss_secret", http_transport=httpx.MockTransport(handler))


def answers(*responses: httpx.Response | Exception) -> tuple[Client, list[httpx.Request]]:
    """A client whose requests are answered in turn, and the requests."""
    asked: list[httpx.Request] = []
    rest = iter(responses)

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        answer = next(rest)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return client_of(handle), asked


def ok(body: object, **headers: str) -> httpx.Response:
    return httpx.Response(200, json=body, headers=headers)


def test_submits_a_spec_with_its_key() -> None:
    client, asked = answers(httpx.Response(201, json=JOB))
    spec = range_test("mlp", "digits", {"name": "sgd", "params": {"momentum": 0.9}}, batch_size=32)

    job = client.submit(spec)

    assert (job.id, job.state, job.finished) == ("job_1", "queued", False)
    assert json.loads(asked[0].content) == {
        "kind": "range_test",
        "model": {"name": "mlp"},
        "data": {"name": "digits"},
        "optimizer": {"name": "sgd", "params": {"momentum": 0.9}},
        "batch_size": 32,
    }
    assert asked[0].headers["authorization"] == "Bearer ss_secret"


def test_a_repeated_submission_is_recognisable() -> None:
    lost = httpx.ReadError("connection reset")
    client, asked = answers(lost, httpx.Response(201, json=JOB), httpx.Response(201, json=JOB))
    client.submit({"kind": "range_test"})
    client.submit({"kind": "range_test"})
    first, again, other = [request.headers["idempotency-key"] for request in asked]
    assert first == again
    assert other != first
    client, asked = answers(httpx.Response(201, json=JOB))
    client.submit({"kind": "range_test"}, key="mine")
    assert asked[0].headers["idempotency-key"] == "mine"


def test_a_submission_that_is_still_being_answered_is_waited_for() -> None:
    busy = httpx.Response(409, json={"title": "Conflict"}, headers={"Retry-After": "1"})
    lost = httpx.ReadError("connection reset")
    client, asked = answers(lost, busy, httpx.Response(201, json=JOB))
    assert client.submit({"kind": "range_test"}).id == "job_1"
    assert len({request.headers["idempotency-key"] for request in asked}) == 1
    client, asked = answers(httpx.Response(409, json={"title": "Conflict"}))
    with pytest.raises(ApiError, match="Conflict"):
        client.cancel("job_1")


def test_reads_are_tried_again_when_the_connection_is_lost() -> None:
    refused = httpx.ConnectError("connection refused")
    client, asked = answers(refused, refused, ok(JOB))
    assert client.job("job_1").id == "job_1"
    assert len(asked) == 3


def test_says_what_to_do_when_nothing_listens() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with pytest.raises(UnreachableError) as caught:
        client_of(handle).job("job_1")
    assert str(caught.value) == (
        f"no stepsize server at {URL}: start one with `stepsize up` or set STEPSIZE_URL"
    )


def test_a_refusal_names_status_detail_and_fields() -> None:
    problem = {
        "type": "about:blank",
        "title": "Unprocessable Content",
        "status": 422,
        "detail": "the request is not valid",
        "errors": [{"pointer": "/schedule/max_lr", "detail": "must be >= base_lr"}],
    }
    client, _ = answers(httpx.Response(422, json=problem))
    with pytest.raises(ApiError) as caught:
        client.submit({})
    assert caught.value.status == 422
    assert caught.value.errors[0].pointer == "/schedule/max_lr"
    assert str(caught.value) == (
        "Unprocessable Content (422): the request is not valid\n"
        "  /schedule/max_lr: must be >= base_lr"
    )


def test_a_refusal_without_a_problem_body_is_still_one() -> None:
    client, _ = answers(httpx.Response(502, text="<html>Bad Gateway</html>"))
    with pytest.raises(ApiError, match=r"Bad Gateway \(502\)"):
        client.job("job_1")


def test_a_missing_key_says_where_it_goes() -> None:
    client, _ = answers(httpx.Response(401, json={"title": "Unauthorized", "status": 401}))
    with pytest.raises(ApiError, match="STEPSIZE_API_KEY"):
        client.jobs()


def test_a_key_is_taken_without_the_line_feed_of_its_file() -> None:
    asked: list[httpx.Request] = []
    transport = httpx.MockTransport(lambda request: asked.append(request) or ok(JOB))
    Client(URL, api_key=" ss_1\n", http_transport=transport).job("job_1")
    assert asked[0].headers["Authorization"] == "Bearer ss_1"


@pytest.mark.parametrize("key", ["ss_1\nss_2", "ключ", "ss_\x00"])
def test_what_no_header_can_carry_is_refused_without_telling_it(key: str) -> None:
    with pytest.raises(StepsizeError, match="STEPSIZE_API_KEY") as caught:
        Client(URL, api_key=key)
    assert key not in str(caught.value)


def test_an_answer_of_something_else_is_recognised() -> None:
    client, _ = answers(httpx.Response(200, text="hello"))
    with pytest.raises(NotStepsizeError, match="STEPSIZE_URL"):
        client.job("job_1")


def test_lists_jobs_over_several_pages() -> None:
    pages = [
        ok({"data": [JOB, JOB], "next_cursor": "job_9"}),
        ok({"data": [JOB], "next_cursor": None}),
    ]
    client, asked = answers(*pages)
    found = client.jobs(state=("queued", "running"), tag="project:demo", limit=10)
    assert len(found) == 3
    assert asked[0].url.params.multi_items() == [
        ("state", "queued"),
        ("state", "running"),
        ("tag", "project:demo"),
        ("limit", "10"),
    ]
    assert asked[1].url.params["cursor"] == "job_9"
    assert asked[1].url.params["limit"] == "8"


def test_waits_with_etags_until_the_job_has_finished() -> None:
    running = {**JOB, "state": "running"}
    client, asked = answers(
        ok(running, ETag='W/"1"'),
        httpx.Response(304),
        ok(DONE, ETag='W/"2"'),
    )
    assert client.wait("job_1").succeeded
    assert [request.headers.get("if-none-match") for request in asked] == [
        None,
        'W/"1"',
        'W/"1"',
    ]


def test_the_server_is_asked_to_wait_for_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("stepsize.watching.time.sleep", slept.append)
    etag, applied = {"ETag": 'W/"1"'}, {"Preference-Applied": "wait=15"}
    held = httpx.Response(304, headers=etag | applied)
    client, asked = answers(ok(JOB, **etag), held, held, ok(DONE, **applied))
    assert client.wait("job_1").succeeded
    prefers = [request.headers.get("prefer") for request in asked]
    assert prefers == [None, "wait=15", "wait=15", "wait=15"]  # within half of the timeout, 30 s
    assert len(slept) == 1  # after the first look; from then on the server waits


def test_the_server_is_not_asked_to_wait_for_longer_than_there_is_time() -> None:
    client, asked = answers(ok(JOB, ETag='W/"1"'), ok(JOB, ETag='W/"1"'), ok(DONE))
    assert client.wait("job_1", timeout=5).succeeded
    assert [request.headers.get("prefer") for request in asked] == [None, "wait=4", "wait=4"]


def test_many_jobs_are_submitted_at_once() -> None:
    both = httpx.Response(201, json={"data": [JOB, {**JOB, "id": "job_2"}]})
    client, asked = answers(both)
    jobs = client.submit_many([{"kind": "range_test"}, {"kind": "training"}])
    assert [job.id for job in jobs] == ["job_1", "job_2"]
    assert asked[0].url.path == "/v1/jobs:batch"
    assert [each["kind"] for each in json.loads(asked[0].content)["jobs"]] == [
        "range_test",
        "training",
    ]
    assert asked[0].headers["idempotency-key"]


def test_waiting_bears_a_server_that_restarts() -> None:
    away = [httpx.ConnectError("refused")] * 4
    client, _ = answers(ok(JOB), *away, httpx.Response(503, json={"title": "away"}), ok(DONE))
    assert client.wait("job_1").succeeded


def test_waiting_does_not_bear_a_job_that_is_not_there() -> None:
    client, _ = answers(httpx.Response(404, json={"title": "Not Found", "status": 404}))
    with pytest.raises(ApiError, match="Not Found"):
        client.wait("job_1")


def test_waiting_ends_at_its_timeout() -> None:
    client = client_of(lambda _: ok(JOB))
    with pytest.raises(TimeoutError, match=r"job_1 is still queued after 0\.1 s"):
        client.wait("job_1", timeout=0.1)


def test_series_are_arrays_and_what_is_not_finite_is_nan() -> None:
    lost = {"chunk": "job_1/train/0/3", "start": 3, "stop": 9, "reason": "checksum does not match"}
    client, asked = answers(
        ok(
            {
                "job": "job_1",
                "names": ["loss", "lr"],
                "total_points": 3,
                "returned": 3,
                "reduced": None,
                "next_start": 3,
                "complete": True,
                "columns": {
                    "iteration": [0, 1, 2],
                    "loss": [2.5, None, 0.1],
                    "lr": [1e-7, 1e-6, 1e-5],
                },
                "nonfinite": {"loss": [1]},
                "damaged": [lost],
            }
        )
    )
    series = client.series("job_1", ["loss", "lr"], start=0, points=100, repeat=2)

    assert series.iteration.dtype == np.int64
    np.testing.assert_array_equal(series.loss, [2.5, np.nan, 0.1])
    np.testing.assert_array_equal(series["lr"], [1e-7, 1e-6, 1e-5])
    assert (len(series), series.next_start, series.complete) == (3, 3, True)
    assert list(series.damaged) == [lost]
    assert list(series.to_pandas().columns) == ["iteration", "loss", "lr"]
    assert dict(asked[0].url.params) == {
        "names": "loss,lr",
        "start": "0",
        "points": "100",
        "repeat": "2",
    }
    with pytest.raises(AttributeError, match="no column 'accuracy', only iteration, loss, lr"):
        _ = series.accuracy


def test_previews_a_schedule() -> None:
    client, asked = answers(ok({"columns": {"iteration": [0, 1], "lr": [0.1, 0.2]}}))
    preview = client.preview({"policy": "constant", "lr": 0.1}, iterations=2)
    np.testing.assert_array_equal(preview.lr, [0.1, 0.2])
    assert json.loads(asked[0].content)["iterations"] == 2


def test_waiting_goes_on_while_the_job_is_paused() -> None:
    held = {**JOB, "state": "paused"}
    client, _ = answers(ok(held), ok(held), ok(DONE))
    seen = list(client.watch("job_1"))
    assert [job.paused for job in seen] == [True, True, False]
    assert not seen[0].finished


def test_moves_post_to_the_job() -> None:
    client, asked = answers(*[ok(JOB)] * 4)
    job: Job | str = "job_1"
    for move in (client.cancel, client.pause, client.resume, client.retry):
        job = move(job)
    assert [(request.method, request.url.path) for request in asked] == [
        ("POST", f"/v1/jobs/job_1/{verb}") for verb in ("cancel", "pause", "resume", "retry")
    ]


def test_an_extension_is_as_its_parent_but_for_what_changes() -> None:
    spec = {
        "kind": "training",
        "name": "first",
        "tags": {"project": "demo"},
        "from": {"job": "job_0", "iteration": 50},
        "length": {"epochs": 5},
        "seed": 3,
    }
    parent = ok({**JOB, "kind": "training", "spec": spec})
    client, asked = answers(parent, httpx.Response(201, json=JOB), parent, ok(JOB), ok(JOB))
    client.extend("job_1", length={"epochs": 9}, name="longer")
    assert json.loads(asked[1].content) == spec | {
        "from": {"job": "job_1"},
        "length": {"epochs": 9},
        "name": "longer",
    }
    client.extend("job_1", iteration=300)
    assert json.loads(asked[3].content)["from"] == {"job": "job_1", "iteration": 300}
    with pytest.raises(StepsizeError, match="job_1 is a range_test"):
        client.extend("job_1")


def test_an_extension_of_an_auto_training_has_the_schedule_that_it_found() -> None:
    found = {"policy": "constant", "lr": 0.02}
    spec = {"kind": "training", "schedule": {"policy": "auto"}, "length": {"epochs": 5}}
    parent = {**JOB, "kind": "training", "spec": spec, "resolved": {"schedule": found}}
    client, asked = answers(ok(parent), httpx.Response(201, json=JOB))
    client.extend("job_1", length={"epochs": 9})
    assert json.loads(asked[1].content)["schedule"] == found


def test_the_pace_of_an_extension_is_unknown() -> None:
    done = {**DONE, "result": {"iterations": 300, "seconds": 0.5}}
    assert Job.model_validate(done).pace == 600
    extended = {**done, "parent": {"job": "job_0", "iteration": 200}}
    assert Job.model_validate(extended).pace is None


def test_a_job_tells_what_happened_to_it() -> None:
    told = {
        **JOB,
        "checkpoint": 300,
        "parent": {"job": "job_0", "iteration": 100},
        "pause_requested": True,
        "attempts": [{"attempt": 1, "worker": "w", "started_at": "2026-01-31T12:00:00Z"}],
    }
    client, _ = answers(ok(told), ok(JOB))
    job = client.job("job_1")
    assert job.parent is not None
    assert (job.checkpoint, job.parent.iteration, job.pause_requested) == (300, 100, True)
    assert job.attempts[0].outcome is None
    assert client.job("job_1").attempts == []  # of an older server


CHECKPOINT = {
    "iteration": 300,
    "attempt": 1,
    "bytes": 7,
    "sha256": "0" * 64,
    "lasting": False,
    "created_at": "2026-01-31T12:00:00Z",
}


def test_checkpoints_are_listed() -> None:
    client, asked = answers(ok({"data": [CHECKPOINT]}))
    assert [each.iteration for each in client.checkpoints("job_1")] == [300]
    assert asked[0].url.path == "/v1/jobs/job_1/checkpoints"


def test_a_checkpoint_is_downloaded_whole_or_not_at_all(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"wei"
        raise httpx.ReadError("connection reset")

    etag = {"ETag": f'"{sha256(b"weights").hexdigest()}"'}
    missing = {"title": "Not Found", "status": 404, "detail": "it has some at 10, 20"}
    client, asked = answers(
        httpx.Response(200, content=b"weights", headers=etag),
        httpx.Response(200, content=b"weird", headers=etag),
        httpx.Response(200, content=broken(), headers=etag),
        httpx.Response(404, json=missing),
    )
    file = tmp_path / "a.ckpt"
    assert client.download_checkpoint("job_1", 300, file) == file
    assert file.read_bytes() == b"weights"
    assert asked[0].url.path == "/v1/jobs/job_1/checkpoints/300"
    for error in ("was damaged on its way", "connection reset", "it has some at 10, 20"):
        with pytest.raises(StepsizeError, match=error):
            client.download_checkpoint("job_1", 300, tmp_path / "b.ckpt")
    assert list(tmp_path.iterdir()) == [file]


def test_a_worker_is_drained_by_its_name() -> None:
    worker = {"name": "gpu-0@host", "state": "busy"}
    client, asked = answers(ok(worker), ok(worker))
    client.undrain(client.drain("gpu-0@host"))
    assert [request.url.path for request in asked] == [
        "/v1/workers/gpu-0@host/drain",
        "/v1/workers/gpu-0@host/undrain",
    ]


def test_a_suggestion_is_there_or_says_why_not() -> None:
    failed = {**JOB, "state": "succeeded", "result": {"status": "no_descent", "suggestion": None}}
    trained = {**failed, "kind": "training", "result": {"val_loss": 0.1}}
    client, _ = answers(ok(DONE), ok(JOB), ok(failed), ok(trained))
    assert client.job("job_1").suggestion.max_lr == 0.006
    with pytest.raises(StepsizeError, match="job_1 is queued: it has no suggestion yet"):
        _ = client.job("job_1").suggestion
    with pytest.raises(StepsizeError, match="no_descent"):
        _ = client.job("job_1").suggestion
    with pytest.raises(StepsizeError, match="is a training: range tests have suggestions"):
        _ = client.job("job_1").suggestion


def test_the_environment_says_where_the_server_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPSIZE_URL", "https://gpu.example/stepsize/")
    assert Client().url == "https://gpu.example/stepsize"
    monkeypatch.delenv("STEPSIZE_URL")
    assert Client().url == "http://127.0.0.1:8000"


def test_an_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(UnreachableError, match="set STEPSIZE_URL"):
        Client("localhost:8000")


def test_importing_the_client_leaves_heavy_packages_alone() -> None:
    code = "import sys, stepsize; print(*(sys.modules.keys() & {'numpy', 'pandas', 'matplotlib'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
