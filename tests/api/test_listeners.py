"""Many listeners cost what one costs; one that does not read costs a frame, and delays nobody."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest

from api import frames
from api.app import create_app
from spec.settings import Settings
from store import leases, versions
from store.chunks import Chunk
from store.database import Sessions
from tests.api.conftest import NotedBroker
from tests.api.listening import DEADLINE, Server, eventually, rows, served
from tests.factories import claimed, queued, record
from tests.factories import rows as part

EVERY = 0.1


@pytest.fixture
def server(sessions: Sessions, settings: Settings) -> Iterator[Server]:
    app = create_app(sessions, NotedBroker(), settings)
    app.state.changes._every = EVERY
    with served(app) as running:
        yield running


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What was read from the store: frames, and versions by the poll."""
    seen: dict[str, list[Any]] = {"frames": [], "polls": []}
    read, of = frames.read, versions.of

    def reading(sessions: Sessions, place: frames.Place) -> frames.Frame:
        seen["frames"].append(place)
        return read(sessions, place)

    def polling(*args: Any) -> dict[str, int]:
        seen["polls"].append(threading.get_ident())
        return of(*args)

    monkeypatch.setattr(frames, "read", reading)
    monkeypatch.setattr(versions, "of", polling)
    return seen


def test_two_hundred_listeners_cost_one_poll_and_one_read_a_change(
    server: Server, sessions: Sessions, looks: dict[str, list[Any]]
) -> None:
    job = queued(sessions)
    lease = claimed(sessions)
    count = 200

    async def listen(http: httpx.AsyncClient, told: asyncio.Queue[str]) -> None:
        async with http.stream("GET", f"/v1/jobs/{job.id}/events") as answer:
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    told.put_nowait(line.removeprefix("event: "))

    async def everybody() -> None:
        told: asyncio.Queue[str] = asyncio.Queue()
        limits = httpx.Limits(max_connections=None)
        async with (
            httpx.AsyncClient(
                base_url=server.url, limits=limits, timeout=DEADLINE, verify=False
            ) as http,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(count):
                group.create_task(listen(http, told))
            assert {await told.get() for _ in range(count)} == {"state"}
            while len(server.app.state.changes._waiters) < count:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
            assert sessions.engine.pool.checkedout() <= 1  # type: ignore[attr-defined]
            assert threading.active_count() < 60
            for stop in (10, 20, 30):
                before = len(looks["frames"])
                began, polls = time.monotonic(), len(looks["polls"])
                await asyncio.to_thread(record, sessions, lease, stop, part(stop - 10, stop))
                events = [await told.get() for _ in range(2 * count)]
                assert (events.count("state"), events.count("points")) == (count, count)
                assert len(looks["frames"]) - before == 1
                ticks = (time.monotonic() - began) / EVERY
                assert len(looks["polls"]) - polls <= ticks + 1
            await asyncio.to_thread(end)
            assert {await told.get() for _ in range(2 * count)} == {"state", "end"}

    def end() -> None:
        with sessions.begin() as tx:
            leases.succeed(tx, lease, {})

    asyncio.run(asyncio.wait_for(everybody(), DEADLINE))
    assert len(looks["frames"]) <= 6
    eventually(lambda: server.streams.open == 0)


@contextlib.contextmanager
def deaf(server: Server, job_id: str) -> Iterator[socket.socket]:
    """A listener that reads nothing."""
    where = urlsplit(server.url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((where.hostname, where.port))
        head = f"GET /v1/jobs/{job_id}/events?names=loss HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n"
        connection.sendall(head.encode())
        yield connection


def test_listeners_that_do_not_read_hold_little_and_delay_nobody(
    server: Server, sessions: Sessions, looks: dict[str, list[Any]]
) -> None:
    server.streams.frames._kept = 4_000_000
    job = queued(sessions)
    lease = claimed(sessions)
    count, total = 30, 1_000_000
    losses = np.random.default_rng(0).random(total, np.float32)
    memory = psutil.Process().memory_info().rss
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(deaf(server, job.id))
        eventually(lambda: server.streams.open == count)
        path = f"/v1/jobs/{job.id}/events"
        _, arriving = stack.enter_context(server.listening(path, names="loss"))
        at = heard = 0
        while at < total:
            stop = min(at + 65_536, total)
            record(sessions, lease, stop, Chunk("train", 0, at, {"loss": losses[at:stop]}))
            at = stop
        with sessions.begin() as tx:
            leases.succeed(tx, lease, {})
        for event in arriving:
            if event.name == "points":
                iterations, values = rows([event])
                assert iterations == list(range(heard, event.data["next_start"]))
                heard = event.data["next_start"]
                np.testing.assert_array_equal(values, losses[iterations[0] : heard])
                assert len(iterations) <= frames.VALUES // 2
        assert heard == total
        eventually(lambda: server.streams.open == count)  # the others are where they were
        assert server.streams.frames._size <= 4_000_000
        # if each had been sent all of it: some 900 MB
        assert psutil.Process().memory_info().rss - memory < 100_000_000
        deafest = max(looks["frames"], key=lambda place: place.start)
        assert deafest.start > total - frames.VALUES
        assert len(looks["frames"]) < 3 * total / (frames.VALUES // 2)
    eventually(lambda: server.streams.open == 0)
