"""Clients that follow a sweep, sweeps that another version has stored, and those tried again."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import update

from api.app import create_app
from api.sweeper import Sweeper
from spec.settings import Settings
from spec.states import Reason
from store import leases, moves, sweep_moves
from store.database import Sessions
from store.instants import from_now
from store.tables import sweeps as table
from tests.api.conftest import NotedBroker
from tests.factories import claimed, record, training_json

DEADLINE = 20.0
SEED = "/seed"


def sweep_json(**changes: Any) -> dict[str, Any]:
    return {
        "template": training_json(),
        "space": {SEED: [0, 1, 2]},
        "objective": {"metric": "val_accuracy", "direction": "maximize"},
        **changes,
    }


@pytest.fixture
def app(sessions: Sessions, broker: NotedBroker, settings: Settings) -> FastAPI:
    return create_app(sessions, broker, settings)


@pytest.fixture
def sweeper(sessions: Sessions, broker: NotedBroker) -> Sweeper:
    return Sweeper(sessions, broker)


def submitted(client: TestClient, **changes: Any) -> str:
    answer = client.post("/v1/sweeps", json=sweep_json(**changes))
    assert answer.status_code == 201, answer.text
    return f"/v1/sweeps/{answer.json()['id']}"


def succeed(sessions: Sessions, value: float | None = 0.5) -> str:
    lease = claimed(sessions)
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {"val_accuracy": value})
    return lease.job_id


def train(sessions: Sessions) -> None:
    lease = claimed(sessions)
    record(sessions, lease, 100)
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {"val_accuracy": 0.5})


def fail(sessions: Sessions) -> str:
    lease = claimed(sessions)
    with sessions.begin() as tx:
        leases.fail(tx, lease, Reason.CODE, "broken")
    return lease.job_id


@pytest.mark.parametrize("listed", [True, False])
def test_the_etag_changes_with_jobs_and_the_best(
    client: TestClient, sessions: Sessions, sweeper: Sweeper, listed: bool
) -> None:
    sweep = submitted(client)
    url = "/v1/sweeps" if listed else sweep
    seen: list[str] = []

    def changed() -> bool:
        known = {"If-None-Match": seen[-1]} if seen else {}
        answer = client.get(url, headers=known)
        if answer.status_code == 304:
            assert not answer.content
            assert answer.headers["ETag"] == seen[-1]
            return False
        assert answer.headers["ETag"].startswith('W/"')
        assert answer.headers["ETag"] not in seen
        seen.append(answer.headers["ETag"])
        return True

    assert changed()
    assert not changed()
    lease = claimed(sessions)
    assert changed()
    record(sessions, lease, 50)
    assert not changed()  # how far a job is, a sweep does not say
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {"val_accuracy": 0.5})
    assert changed()
    sweeper.step()
    assert changed()  # it has begun
    succeed(sessions, 0.6)
    assert changed()
    assert client.delete(f"/v1/jobs/{lease.job_id}").status_code == 204
    assert changed()
    client.post(f"{sweep}/cancel")
    assert changed()
    assert not changed()


def test_a_best_that_is_replaced_shows_in_the_etag(client: TestClient, sessions: Sessions) -> None:
    sweep = submitted(client, sampler={"name": "tpe", "startup": 1}, budget={"jobs": 3})
    first = succeed(sessions, 0.9)
    before = client.get(sweep)
    client.delete(f"/v1/jobs/{first}")
    succeed(sessions, 0.1)
    after = client.get(sweep, headers={"If-None-Match": before.headers["ETag"]})
    assert after.json()["best"]["value"] == 0.1


@pytest.mark.parametrize("with_etag", [True, False])
def test_the_answer_comes_with_the_change(
    app: FastAPI, client: TestClient, sessions: Sessions, with_etag: bool
) -> None:
    sweep = submitted(client)

    async def waited_for(count: int) -> None:
        while len(app.state.changes._waiters) != count:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.01)

    async def asking() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            etag = (await http.get(sweep)).headers["ETag"]
            known = {"If-None-Match": etag} if with_etag else {}
            wait = asyncio.create_task(http.get(sweep, headers={"Prefer": "wait=60", **known}))
            await waited_for(1)
            assert not wait.done()
            await asyncio.to_thread(succeed, sessions)
            answer = await wait
            assert answer.json()["counts"]["succeeded"] == 1
            assert answer.headers["Preference-Applied"] == "wait=60"
            await waited_for(0)
            known = {"If-None-Match": answer.headers["ETag"]}
            still = await http.get(sweep, headers={"Prefer": "wait=1", **known})
            assert still.status_code == 304
            await http.post(f"{sweep}/cancel")
            ended = await http.get(sweep, headers={"Prefer": "wait=60"})
            assert ended.json()["state"] == "cancelled"

    asyncio.run(asyncio.wait_for(asking(), DEADLINE))


def test_results_come_in_pages(client: TestClient, sessions: Sessions) -> None:
    sweep = submitted(client)
    whole = client.get(f"{sweep}/results").json()
    assert (len(whole["data"]), whole["next_cursor"]) == (3, None)
    first = client.get(f"{sweep}/results?limit=2")
    page = first.json()
    assert page["data"] == whole["data"][:2]
    rest = client.get(f"{sweep}/results?limit=2&cursor={page['next_cursor']}").json()
    assert rest == {"data": whole["data"][2:], "next_cursor": None}
    assert len(client.get(f"{sweep}/results?limit=3").json()["data"]) == 3
    assert client.get(f"{sweep}/results?limit=3").json()["next_cursor"] is None
    for query in ("limit=0", "cursor=x", "limit=10001"):
        assert client.get(f"{sweep}/results?{query}").status_code == 422
    succeed(sessions)
    known = {"If-None-Match": first.headers["ETag"]}
    assert client.get(f"{sweep}/results?limit=2", headers=known).status_code == 200


def foreign(sessions: Sessions, **changes: Any) -> None:
    """Another version has stored all sweeps."""
    spec = {**sweep_json(), "sampler": {"name": "clairvoyant"}, "of": "tomorrow", **changes}
    with sessions.begin() as tx:
        tx.execute(table.update().values(spec=spec))


def test_a_spec_of_another_version_is_shown_and_judged(
    client: TestClient, sessions: Sessions, sweeper: Sweeper
) -> None:
    sweep = submitted(client)
    foreign(sessions)
    job = succeed(sessions, 0.75)
    shown = client.get(sweep).json()
    assert shown["spec"]["of"] == "tomorrow"
    assert shown["best"] == {"job": job, "parameters": {SEED: 0}, "value": 0.75}
    assert client.get("/v1/sweeps").json()["data"] == [shown]
    assert client.get(f"{sweep}/results").json()["data"][0]["value"] == 0.75
    assert client.get(f"{sweep}/ranking").json()["data"][0]["mean"] == 0.75
    foreign(sessions, objective="beauty")
    assert client.get(sweep).json()["best"] is None
    assert client.get(f"{sweep}/results").json()["data"][0]["value"] is None
    refused = client.get(f"{sweep}/ranking")
    assert refused.status_code == 409
    assert "another version" in refused.json()["detail"]
    succeed(sessions)
    succeed(sessions)
    sweeper.step()
    assert client.get(sweep).json()["state"] == "succeeded"  # all had been chosen


def test_a_spec_of_another_version_is_not_led_on(
    client: TestClient, sessions: Sessions, sweeper: Sweeper, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = submitted(client, sampler={"name": "tpe"}, budget={"jobs": 9, "parallel": 1})
    foreign(sessions)
    succeed(sessions)
    with caplog.at_level(logging.WARNING):
        for _ in range(25):
            sweeper.step()
    (said,) = caplog.records
    assert "sweep.unreadable of sweep swp_" in said.message
    assert said.exc_info is None
    shown = client.get(sweep).json()
    assert (shown["state"], shown["counts"]["succeeded"]) == ("running", 1)
    assert "another version" in shown["ending"]
    for verb in ("pause", "resume", "retry"):
        assert client.post(f"{sweep}/{verb}").status_code == 200
    cancelled = client.post(f"{sweep}/cancel").json()
    assert (cancelled["state"], cancelled["ending"]) == ("cancelled", "it was cancelled")


def test_retrying_what_did_not_fail_says_so(
    client: TestClient, sessions: Sessions, sweeper: Sweeper
) -> None:
    sweep = submitted(client)
    going = client.post(f"{sweep}/retry")
    assert (going.status_code, going.json()["state"]) == (200, "queued")
    for _ in range(3):
        succeed(sessions)
    sweeper.step()
    refused = client.post(f"{sweep}/retry")
    assert refused.status_code == 409
    assert "none of its jobs failed" in refused.json()["detail"]
    assert client.get(sweep).json()["state"] == "succeeded"


def test_a_retry_keeps_to_the_budget(
    client: TestClient, sessions: Sessions, sweeper: Sweeper, broker: NotedBroker
) -> None:
    sweep = submitted(client, budget={"parallel": 1})
    for _ in range(3):
        fail(sessions)
        sweeper.step()
    assert client.get(sweep).json()["state"] == "failed"
    broker.woken.clear()
    again = client.post(f"{sweep}/retry").json()
    assert (again["state"], again["counts"]["queued"]) == ("running", 3)
    assert len(broker.woken) == 1
    for _ in range(3):
        succeed(sessions)
        sweeper.step()
    ended = client.get(sweep).json()
    assert (ended["state"], ended["counts"]["succeeded"]) == ("succeeded", 3)


@pytest.mark.parametrize(("iterations", "tried"), [(250, 0), (350, 1), (450, 2)])
def test_a_retry_keeps_to_the_budget_of_iterations(
    client: TestClient, sessions: Sessions, sweeper: Sweeper, iterations: int, tried: int
) -> None:
    sweep = submitted(client, space={SEED: [0, 1, 2, 3]}, budget={"iterations": iterations})
    for _ in range(2):
        fail(sessions)
    sweeper.step()
    for _ in range(2):
        train(sessions)
    sweeper.step()
    assert client.get(sweep).json()["state"] == "succeeded"
    again = client.post(f"{sweep}/retry")
    if not tried:
        assert again.status_code == 409
        assert "its budget of 250 iterations pays for none" in again.json()["detail"]
        assert client.get(sweep).json()["counts"]["failed"] == 2
        return
    assert again.json()["counts"]["queued"] == 2
    sweeper.step()
    for _ in range(tried):
        train(sessions)
    sweeper.step()
    ended = client.get(sweep).json()
    assert ended["state"] == "succeeded"
    assert ended["counts"]["succeeded"] == 2 + tried
    assert ended["counts"]["cancelled"] == 2 - tried


def test_a_retry_keeps_to_the_budget_of_time(
    client: TestClient, sessions: Sessions, sweeper: Sweeper
) -> None:
    sweep = submitted(client, space={SEED: [0]}, budget={"seconds": 1e-3})
    failed = fail(sessions)
    sweeper.step()
    assert client.get(sweep).json()["state"] == "failed"
    with sessions.begin() as tx:  # a second ago
        tx.execute(update(table).values(started_at=from_now(-timedelta(seconds=1))))
    refused = client.post(f"{sweep}/retry")
    assert refused.status_code == 409
    assert "its budget of 0.001 s is spent; retry a job by its own id" in refused.json()["detail"]
    assert client.post(f"/v1/jobs/{failed}/retry").json()["state"] == "queued"


def test_a_sweep_that_is_being_cancelled_is_not_retried_before_its_end(
    client: TestClient, sessions: Sessions, sweeper: Sweeper
) -> None:
    sweep = submitted(client)
    fail(sessions)
    running = claimed(sessions)
    client.post(f"{sweep}/cancel")
    refused = client.post(f"{sweep}/retry")
    assert refused.status_code == 409
    assert "it is being cancelled" in refused.json()["detail"]
    with sessions.begin() as tx:
        leases.confirm_cancel(tx, running)
    sweeper.step()
    assert client.get(sweep).json()["finished_at"]
    again = client.post(f"{sweep}/retry").json()
    assert (again["state"], again["counts"]["queued"]) == ("running", 1)


@pytest.mark.parametrize("sampler", ["quasi_random", "tpe"])
def test_a_budget_that_was_enough_is_not_said_to_be_spent(
    client: TestClient, sessions: Sessions, sweeper: Sweeper, sampler: str
) -> None:
    budget = {"jobs": 2, "parallel": 1, "iterations": 10_000}
    space = {"/schedule/max_lr": {"low": 0.01, "high": 1, "log": True}}
    sweep = submitted(client, sampler={"name": sampler}, space=space, budget=budget)
    for _ in range(2):
        succeed(sessions)
        sweeper.step()
    ended = client.get(sweep).json()
    assert (ended["state"], ended["ending"]) == ("succeeded", sweep_moves.DONE)


def test_coarse_to_fine_goes_on_once_its_failed_beginning_is_tried_again(
    client: TestClient, sessions: Sessions, sweeper: Sweeper
) -> None:
    sampler = {"name": "coarse_to_fine", "low": 1e-3, "high": 0.1, "rounds": 1, "points": 3}
    sweep = submitted(client, space={}, sampler=sampler)
    failed = [fail(sessions) for _ in range(3)]
    sweeper.step()
    ended = client.get(sweep).json()
    assert (ended["state"], ended["counts"]["failed"]) == ("failed", 3)
    again = client.post(f"{sweep}/retry").json()
    assert (again["state"], again["ending"], again["counts"]["queued"]) == ("running", None, 3)
    sweeper.step()
    assert sum(client.get(sweep).json()["counts"].values()) == 3  # it waits for them
    assert {succeed(sessions) for _ in range(3)} == set(failed)
    sweeper.step()
    assert client.get(sweep).json()["counts"]["queued"] > 0
    while client.get(sweep).json()["counts"]["queued"]:
        succeed(sessions)
        sweeper.step()
    ended = client.get(sweep).json()
    assert (ended["state"], ended["counts"]["failed"]) == ("succeeded", 0)
    ranking = client.get(f"{sweep}/ranking").json()
    assert ranking["left_out"]["short"] == 3
    assert len(ranking["data"]) == ended["counts"]["succeeded"] - 3


def test_a_job_that_is_retried_by_itself_may_become_the_best(
    client: TestClient, sessions: Sessions, sweeper: Sweeper
) -> None:
    sweep = submitted(client, space={SEED: [0, 1]})
    failed = fail(sessions)
    succeed(sessions)
    sweeper.step()
    assert client.get(sweep).json()["state"] == "succeeded"
    with sessions.begin() as tx:
        moves.retry(tx, failed)
    succeed(sessions, 0.9)
    assert client.get(sweep).json()["best"]["value"] == 0.9
