"""A client that prefers to wait is answered when the job changes."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from api import preferences
from api.app import create_app
from api.changes import Changes, Versions
from spec.settings import Settings
from store import leases, moves
from store.database import Sessions
from tests.api.conftest import NotedBroker
from tests.factories import claimed, queued

DEADLINE = 20.0

Asking = Callable[[httpx.AsyncClient], Awaitable[None]]


@pytest.fixture
def app(sessions: Sessions, settings: Settings) -> FastAPI:
    return create_app(sessions, NotedBroker(), settings)


def run(app: FastAPI, asking: Asking) -> None:
    """Lets a client ask, many things at once, for so long at most."""

    async def asked() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            await asyncio.wait_for(asking(http), DEADLINE)

    asyncio.run(asked())


async def waited_for(app: FastAPI, count: int) -> None:
    while len(app.state.changes._waiters) != count:  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("with_etag", [True, False])
def test_the_answer_comes_with_the_change(
    app: FastAPI, sessions: Sessions, with_etag: bool
) -> None:
    url = f"/v1/jobs/{queued(sessions).id}"

    async def asking(http: httpx.AsyncClient) -> None:
        etag = (await http.get(url)).headers["ETag"]
        known = {"If-None-Match": etag} if with_etag else {}
        wait = asyncio.create_task(http.get(url, headers={"Prefer": "wait=60", **known}))
        await waited_for(app, 1)
        assert not wait.done()
        await http.post(f"{url}/cancel")
        answer = await wait
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        assert answer.headers["Preference-Applied"] == "wait=60"
        assert answer.headers["ETag"] != etag
        await waited_for(app, 0)

    run(app, asking)


def test_many_wait_without_a_thread_or_a_connection(app: FastAPI, sessions: Sessions) -> None:
    urls = [f"/v1/jobs/{queued(sessions).id}" for _ in range(2)]
    count = 60  # more than there are threads, and than connections

    async def asking(http: httpx.AsyncClient) -> None:
        prefer = {"Prefer": "wait=60"}
        first, second = (
            [asyncio.create_task(http.get(url, headers=prefer)) for _ in range(count)]
            for url in urls
        )
        await waited_for(app, 2 * count)
        assert sessions.engine.pool.checkedout() <= 1  # type: ignore[attr-defined]
        await http.post(f"{urls[0]}/cancel")
        answers = await asyncio.gather(*first)
        assert {answer.json()["state"] for answer in answers} == {"cancelled"}
        assert not any(each.done() for each in second)
        await http.delete(urls[0])
        await http.post(f"{urls[1]}/pause")
        assert {each.json()["state"] for each in await asyncio.gather(*second)} == {"paused"}

    run(app, asking)


def test_nothing_new_is_304_in_the_end(client: TestClient, sessions: Sessions) -> None:
    url = f"/v1/jobs/{queued(sessions).id}"
    etag = client.get(url).headers["ETag"]
    began = time.monotonic()
    answer = client.get(url, headers={"If-None-Match": etag, "Prefer": "wait=1"})
    assert time.monotonic() - began >= 1
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (304, "wait=1")
    assert answer.headers["ETag"] == etag
    assert client.get(url, headers={"Prefer": "wait=1"}).status_code == 200


def test_what_has_changed_already_is_not_waited_for(client: TestClient, sessions: Sessions) -> None:
    url = f"/v1/jobs/{queued(sessions).id}"
    etag = client.get(url).headers["ETag"]
    lease = claimed(sessions)
    began = time.monotonic()
    known = {"If-None-Match": etag, "Prefer": "wait=60"}
    assert client.get(url, headers=known).json()["state"] == "running"
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {})
    # nothing happens to a finished job by itself
    assert client.get(url, headers={"Prefer": "wait=60"}).json()["state"] == "succeeded"
    assert client.get("/v1/jobs/job_0", headers={"Prefer": "wait=60"}).status_code == 404
    assert time.monotonic() - began < DEADLINE


def test_a_job_that_is_deleted_meanwhile_is_404(app: FastAPI, sessions: Sessions) -> None:
    url = f"/v1/jobs/{queued(sessions).id}"

    async def asking(http: httpx.AsyncClient) -> None:
        etag = (await http.post(f"{url}/cancel")) and (await http.get(url)).headers["ETag"]
        headers = {"If-None-Match": etag, "Prefer": "wait=60"}
        wait = asyncio.create_task(http.get(url, headers=headers))
        await waited_for(app, 1)
        await http.delete(url)
        assert (await wait).status_code == 404

    run(app, asking)


def test_a_server_that_stops_lets_everybody_go(app: FastAPI, sessions: Sessions) -> None:
    url = f"/v1/jobs/{queued(sessions).id}"

    async def asking(http: httpx.AsyncClient) -> None:
        wait = asyncio.create_task(http.get(url, headers={"Prefer": "wait=60"}))
        await waited_for(app, 1)
        app.state.changes.close()
        assert (await wait).json()["state"] == "queued"
        assert (await http.get(url, headers={"Prefer": "wait=60"})).status_code == 200

    run(app, asking)


def test_a_database_that_is_away_is_asked_again(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queued(sessions)
    changes = Changes(sessions, every=0.01)
    looks: list[int] = []

    def looked(ids: list[str]) -> dict[str, int]:
        looks.append(len(ids))
        if len(looks) == 1:
            raise ZeroDivisionError
        if len(looks) == 2:
            raise OperationalError("", {}, Exception("away"))
        return {job.id: job.version + (len(looks) > 4)}

    monkeypatch.setattr(changes, "_versions", looked)

    async def waiting() -> Versions:
        return await changes.wait({job.id: job.version}, within=DEADLINE)

    assert asyncio.run(waiting()) == {job.id: job.version + 1}
    assert len(looks) == 5


def test_several_jobs_can_be_waited_for(sessions: Sessions) -> None:
    changes = Changes(sessions, every=0.01)
    one, two = queued(sessions), queued(sessions)
    known = {one.id: one.version, two.id: two.version, "job_0": None}

    async def waiting() -> tuple[Versions, Versions]:
        before = await changes.wait(known, within=0.1)
        with sessions.begin() as tx:
            moves.cancel(tx, two.id)
        return before, await changes.wait(known, within=DEADLINE)

    assert asyncio.run(waiting()) == ({}, {two.id: two.version + 1})


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        (["wait=30"], 30),
        (["Wait = 5"], 5),
        (['wait="7"; strict'], 7),
        (["respond-async, wait=10"], 10),
        (["respond-async", "wait=10", "wait=20"], 10),
        (["wait=61"], 60),
        (["wait=99999999999"], None),
        (["wait=0"], None),
        (["wait=-1"], None),
        (["wait"], None),
        (["await=3"], None),
    ],
)
def test_preferences(headers: list[str], seconds: int | None) -> None:
    assert preferences.wait(headers) == seconds
