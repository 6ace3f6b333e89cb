"""Submitting, finding and controlling jobs over HTTP."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.examples import EXTENDED, JOBS
from spec.needs import Offer
from spec.settings import Settings
from spec.states import Reason
from store import leases, workers
from store.database import Sessions
from tests.api.conftest import Checkpointed, NotedBroker
from tests.factories import claimed, queued, range_test_json, training_json


def finish_range_test(client: TestClient, sessions: Sessions, **result: Any) -> str:
    job_id: str = client.post("/v1/jobs", json=range_test_json()).json()["id"]
    lease = claimed(sessions)
    suggestion = {"base_lr": 0.01, "max_lr": 0.04, "fixed_lr": 0.02}
    ended = {"status": "ok", "suggestion": suggestion} | result
    with sessions.begin() as tx:
        leases.succeed(tx, lease, ended)
    return job_id


def test_a_submitted_job_waits_and_wakes_a_worker(client: TestClient, broker: NotedBroker) -> None:
    sent = training_json(name="first", tags={"project": "demo"}, queue="gpu")
    answer = client.post("/v1/jobs", json=sent)
    job = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert job["state"] == "queued"
    assert job["progress"] == {"iteration": 0, "iterations": None}
    assert (job["result"], job["error"], job["attempt"], job["sweep"]) == (None, None, 0, None)
    shown = job["spec"]
    assert all(shown[field] == sent[field] for field in ("kind", "model", "length", "tags", "name"))
    assert (shown["seed"], shown["precision"], shown["priority"]) == (0, "fp32", 0)
    assert job["created_at"].endswith("Z")
    assert broker.woken == [("gpu", job["id"])]
    assert client.get(answer.headers["Location"]).json().items() >= job.items()


@pytest.mark.parametrize("name", JOBS)
def test_every_example_of_the_documentation_is_accepted(
    client: TestClient, sessions: Sessions, checkpointed: Checkpointed, name: str
) -> None:
    parent = client.post("/v1/jobs", json=JOBS["training"]["value"]).json()["id"]
    checkpointed(claimed(sessions), 300)
    example = json.dumps(JOBS[name]["value"]).replace(f'"{EXTENDED}"', f'"{parent}"')
    assert client.post("/v1/jobs", json=json.loads(example)).status_code == 201


def test_what_a_job_shows_can_be_submitted_again(client: TestClient) -> None:
    first = client.post("/v1/jobs", json=training_json()).json()
    second = client.post("/v1/jobs", json=first["spec"]).json()
    assert second["spec"] == first["spec"]


def test_what_a_tag_is_is_said_in_words(client: TestClient) -> None:
    for tag in ("demo", ":demo", "a b:c"):
        (error,) = client.get("/v1/jobs", params={"tag": tag}).json()["errors"]
        assert error["pointer"] == "/tag"
        assert error["detail"].startswith("must be a tag and its value, as project:demo")
    refused = client.post("/v1/jobs", json=training_json(tags={"a b": "c"}))
    (error,) = refused.json()["errors"]
    assert error["detail"].startswith("is no name for a tag: up to 63 letters")


def test_weak_etag(client: TestClient, sessions: Sessions) -> None:
    url = client.post("/v1/jobs", json=training_json()).headers["Location"]
    etag = client.get(url).headers["ETag"]
    same = client.get(url, headers={"If-None-Match": etag})
    assert (same.status_code, same.content) == (304, b"")
    for other in (etag.removeprefix("W/"), f'"x", {etag}', "*"):
        assert client.get(url, headers={"If-None-Match": other}).status_code == 304
    claimed(sessions)
    assert client.get(url, headers={"If-None-Match": etag}).status_code == 200


def test_a_job_tells_its_attempts_and_its_history(
    client: TestClient, sessions: Sessions, checkpointed: Checkpointed
) -> None:
    job = queued(sessions)
    url = f"/v1/jobs/{job.id}"
    seen = [client.get(url)]
    lease = claimed(sessions)
    checkpointed(lease, 40)
    seen.append(client.get(url))
    with sessions.begin() as tx:
        leases.fail(tx, lease, Reason.OOM, "needs 64 GB")
    seen.append(client.get(url))
    assert len({answer.headers["ETag"] for answer in seen}) == len(seen)

    shown = seen[-1].json()
    assert shown["checkpoint"] == 40
    (attempt,) = shown["attempts"]
    assert attempt.pop("started_at") <= attempt.pop("ended_at")
    assert attempt == {
        "attempt": 1,
        "worker": "w1",
        "outcome": "failed",
        "reason": "oom",
        "began": 0,
        "iterations": 40,
    }
    told = [(each["actor"], each["verb"], each["state"]) for each in shown["history"]]
    assert told == [
        ("client", "submit", "queued"),
        ("w1", "claim", "running"),
        ("w1", "fail", "queued"),
    ]
    assert shown["history"][-1].items() >= {"iteration": 40, "detail": "oom: needs 64 GB"}.items()
    (listed,) = client.get("/v1/jobs").json()["data"]
    assert shown.keys() - listed.keys() == {"attempts", "history", "waiting", "request"}


def test_list_is_newest_first_in_pages(client: TestClient) -> None:
    ids = [client.post("/v1/jobs", json=training_json()).json()["id"] for _ in range(5)]
    seen: list[str] = []
    url: str | None = "/v1/jobs?limit=2&kind=training"
    while url:
        page = client.get(url)
        seen += [job["id"] for job in page.json()["data"]]
        link = page.headers.get("Link")
        assert (link is None) == (page.json()["next_cursor"] is None)
        url = link and link[1 : link.index(">")]
        assert link is None or link.endswith('rel="next"')
    assert seen == ids[::-1]


def test_the_list_has_a_weak_etag(client: TestClient, sessions: Sessions) -> None:
    def etag(query: str = "limit=1", known: str = "") -> str:
        answer = client.get(f"/v1/jobs?{query}", headers={"If-None-Match": known} if known else {})
        assert answer.status_code == (304 if answer.headers["ETag"] == known else 200)
        return str(answer.headers["ETag"])

    seen = [etag()]
    first = queued(sessions)
    seen.append(etag(known=seen[-1]))
    queued(sessions)
    seen += [etag(known=seen[-1]), etag("limit=2")]
    claimed(sessions)  # the first of them
    assert etag(known=seen[2]) == seen[2]
    seen.append(etag("limit=2", known=seen[3]))
    assert all(each.startswith('W/"') for each in seen)
    assert len(set(seen)) == len(seen)
    unchanged = client.get("/v1/jobs?limit=1", headers={"If-None-Match": seen[2]})
    assert unchanged.content == b""
    assert "cursor=" in unchanged.headers["Link"]
    assert client.get(f"/v1/jobs/{first.id}").json()["state"] == "running"


def test_jobs_are_found_by_a_part_of_their_name(client: TestClient) -> None:
    for name in ("Bounds x momentum", "100%", "other"):
        client.post("/v1/jobs", json=training_json(name=name))
    client.post("/v1/jobs", json=training_json())

    def names(query: str) -> list[str]:
        found = client.get("/v1/jobs", params={"q": query, "state": ["queued", "running"]})
        return [job["name"] for job in found.json()["data"]]

    assert names("MOMENT") == ["Bounds x momentum"]
    assert names("o") == ["other", "Bounds x momentum"]
    assert names("%") == ["100%"]
    assert names("_") == []
    assert client.get("/v1/jobs", params={"q": "a\x00"}).status_code == 422


def test_filters(client: TestClient, sessions: Sessions) -> None:
    named = client.post("/v1/jobs", json=training_json(name="x")).json()["id"]
    tags = {"project": "demo", "run": "a:b"}
    tagged = client.post("/v1/jobs", json=range_test_json(tags=tags)).json()["id"]

    def ids(query: str) -> list[str]:
        return [job["id"] for job in client.get(f"/v1/jobs?{query}").json()["data"]]

    assert ids("name=x") == [named]
    assert ids("kind=range_test") == [tagged]
    assert ids("tag=project:demo&tag=run:a:b") == [tagged]
    assert ids("tag=project:demo&tag=run:b") == []
    assert ids("tag=run:a:b&tag=run:other") == []
    assert ids("tag=run:other&tag=run:a:b") == []
    assert ids("state=running") == []
    claimed(sessions)
    assert ids("state=running&state=failed") == [named]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/limit"),
        ("limit=501", "/limit"),
        ("state=asleep", "/state"),
        ("tag=no-colon", "/tag"),
        ("cursor=../etc", "/cursor"),
        ("sate=queued", "/sate"),
    ],
)
def test_bad_queries_name_the_parameter(client: TestClient, query: str, pointer: str) -> None:
    answer = client.get(f"/v1/jobs?{query}")
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]


def test_wrong_state_is_409(client: TestClient, sessions: Sessions) -> None:
    job = queued(sessions)
    url = f"/v1/jobs/{job.id}"
    refused = client.delete(url)
    assert refused.status_code == 409
    assert refused.json()["detail"] == "a job that is queued cannot be deleted"
    lease = claimed(sessions)
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {})
    assert client.post(f"{url}/cancel").status_code == 409
    assert client.post(f"{url}/retry").status_code == 409
    assert client.delete(url).status_code == 204
    assert client.get(url).status_code == 404


def test_the_files_of_a_job_go_with_it(
    client: TestClient, sessions: Sessions, settings: Settings, checkpointed: Checkpointed
) -> None:
    job, other = queued(sessions), queued(sessions)
    for each in (job, other):
        checkpointed(claimed(sessions), 20)
        settings.snapshots(each.id).mkdir(parents=True)
        (settings.snapshots(each.id) / "20.pt").write_bytes(b"weights")
    with sessions.begin() as tx:
        leases.succeed(tx, leases.Lease(job.id, 1, "w1"), {})
    assert client.delete(f"/v1/jobs/{job.id}").status_code == 204
    places = (settings.snapshots, Path(settings.checkpoints).joinpath)
    assert [[place(each.id).exists() for place in places] for each in (job, other)] == [
        [False, False],
        [True, True],
    ]


def test_files_that_cannot_be_deleted_do_not_bring_the_job_back(
    client: TestClient, sessions: Sessions, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(folder: Path) -> None:
        raise PermissionError(f"not allowed: {folder}")

    monkeypatch.setattr(shutil, "rmtree", refused)
    job = queued(sessions)
    settings.snapshots(job.id).mkdir(parents=True)
    client.post(f"/v1/jobs/{job.id}/cancel")
    assert client.delete(f"/v1/jobs/{job.id}").status_code == 204
    assert client.get(f"/v1/jobs/{job.id}").status_code == 404


def test_a_failure_shows_its_reason(client: TestClient, sessions: Sessions) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    with sessions.begin() as tx:
        leases.fail(tx, lease, Reason.CODE, "it broke")
    shown = client.get(f"/v1/jobs/{job.id}").json()
    assert shown["error"] == {"reason": "code", "detail": "it broke"}


@pytest.mark.parametrize(
    "verb",
    [
        *("", "/cancel", "/pause", "/resume", "/retry"),
        *("/series", "/series/summary", "/checkpoints", "/checkpoints/1"),
    ],
)
def test_unknown_jobs_are_404(client: TestClient, verb: str) -> None:
    method = "POST" if verb in {"/cancel", "/pause", "/resume", "/retry"} else "GET"
    answer = client.request(method, f"/v1/jobs/job_none{verb}")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_bounds_from_a_range_test(client: TestClient, sessions: Sessions) -> None:
    source = finish_range_test(client, sessions)
    ref = {"range_test": source}
    schedule = {"policy": "triangular", "base_lr": ref, "max_lr": ref, "step_size": 10}
    job = client.post("/v1/jobs", json=training_json(schedule=schedule)).json()
    assert job["spec"]["schedule"]["max_lr"] == ref
    assert job["resolved"]["bounds"] == {"/base_lr": 0.01, "/max_lr": 0.04}
    constant = {"policy": "constant", "lr": ref}
    job = client.post("/v1/jobs", json=training_json(schedule=constant)).json()
    assert job["resolved"]["bounds"] == {"/lr": 0.02}


def test_bounds_that_cannot_be_taken(client: TestClient, sessions: Sessions) -> None:
    def refused(schedule: dict[str, Any]) -> list[dict[str, str]]:
        answer = client.post("/v1/jobs", json=training_json(schedule=schedule))
        assert answer.status_code == 422
        errors: list[dict[str, str]] = answer.json()["errors"]
        return errors

    def schedule(ref: str, **changes: Any) -> dict[str, Any]:
        bound = {"range_test": ref}
        return {"policy": "triangular", "base_lr": 0.001, "max_lr": bound, "step_size": 9} | changes

    (error,) = refused(schedule("job_0"))
    assert error == {
        "pointer": "/schedule/max_lr/range_test",
        "detail": "there is no job job_0",
    }
    training = client.post("/v1/jobs", json=training_json()).json()["id"]
    assert "not a range test" in refused(schedule(training))[0]["detail"]
    claimed(sessions)
    waiting = client.post("/v1/jobs", json=range_test_json()).json()["id"]
    assert "wait until it has succeeded" in refused(schedule(waiting))[0]["detail"]
    claimed(sessions)
    flat = finish_range_test(client, sessions, status="no_descent", suggestion=None)
    assert "no_descent" in refused(schedule(flat))[0]["detail"]
    good = finish_range_test(client, sessions)
    (error,) = refused(schedule(good, base_lr=0.5))
    assert error == {"pointer": "/schedule/max_lr", "detail": "must be >= base_lr"}


def test_why_a_job_waits_is_told_and_is_part_of_its_etag(
    client: TestClient, sessions: Sessions
) -> None:
    spec = training_json(needs={"gpus": 1})
    job_id = client.post("/v1/jobs", json=spec).json()["id"]
    before = client.get(f"/v1/jobs/{job_id}")
    assert before.json()["waiting"]["why"] == "no_worker"
    known = {"If-None-Match": before.headers["ETag"]}
    assert client.get(f"/v1/jobs/{job_id}", headers=known).status_code == 304
    with sessions.begin() as tx:
        workers.report(
            tx,
            name="cuda-1@a",
            device="cuda:0",
            state="idle",
            job_id=None,
            queues=["default"],
            versions={},
            started_at=datetime.now(UTC),
            offer=Offer(gpus=1),
        )
    after = client.get(f"/v1/jobs/{job_id}", headers=known)
    assert after.status_code == 200
    assert (after.json()["waiting"]["why"], after.json()["waiting"]["fitting"]) == ("soon", 1)
    # who waits for a change of the job waits for a new version, and is told of this one as well
    waited = client.get(f"/v1/jobs/{job_id}", headers=known | {"Prefer": "wait=1"})
    assert waited.headers["Preference-Applied"] == "wait=1"
    assert waited.elapsed.total_seconds() >= 1
    assert waited.headers["ETag"] == after.headers["ETag"]
    client.post(f"/v1/jobs/{job_id}/cancel")
    assert client.get(f"/v1/jobs/{job_id}").json()["waiting"] is None
