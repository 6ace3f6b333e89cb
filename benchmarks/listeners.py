"""Many listeners to live streams, and writers of what they hear: is all told once, and how soon?"""

import asyncio
import json
import multiprocessing
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

import numpy as np
import uvloop
from load import request

from store import leases
from store.chunks import Chunk
from store.database import connect
from store.leases import Lease, Progress

EVERY = 0.25
"""Seconds between two writes of a job."""

ROWS = 25
"""Iterations in each."""

TENURE = timedelta(minutes=10)
PATIENCE = 30.0


@dataclass
class Heard:
    """What listeners were told.

    Attributes:
        delays: seconds from the writing of rows to their arrival, of each event.
        points: rows.
        wrong: rows that were missing or came twice, and streams that ended early.
    """

    listeners: int
    delays: list[float] = field(default_factory=list)
    points: int = 0
    wrong: int = 0
    took: float = 0.0


def listen(
    port: int,
    url: str,
    held: Sequence[Lease],
    *,
    listeners: int,
    seconds: float,
    tick: Callable[[], None],
) -> Heard:
    """So many listeners to the jobs of leases, while a process of its own writes their rows."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    writer = context.Process(target=write, args=(url, held, seconds, ready))
    writer.start()
    try:
        return uvloop.run(_listen(port, held, listeners, ready.set, tick))
    finally:
        writer.join(PATIENCE)
        writer.kill()


def write(url: str, held: Sequence[Lease], seconds: float, ready: multiprocessing.Event) -> None:
    """Records rows of every job, each row's lr being the time of its writing; then ends them."""
    sessions = connect(url)
    ready.wait()
    at = 0
    until = time.time() + seconds
    while time.time() < until:
        begun = time.time()
        chunk = Chunk(
            "train",
            0,
            at,
            {"loss": np.zeros(ROWS, np.float32), "lr": np.full(ROWS, begun)},
            after=0,
        )
        at += ROWS
        with sessions.begin() as tx:
            leases.record(tx, [Progress(each, at, [chunk]) for each in held], extend=TENURE)
        time.sleep(max(0.0, begun + EVERY - time.time()))
    for each in held:
        with sessions.begin() as tx:
            leases.succeed(tx, each, {})
    sessions.close()


async def _listen(
    port: int,
    held: Sequence[Lease],
    listeners: int,
    ready: Callable[[], None],
    tick: Callable[[], None],
) -> Heard:
    heard = Heard(listeners)
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    open_ = []
    for number in range(listeners):
        path = f"/v1/jobs/{held[number % len(held)].job_id}/events?names=loss,lr"
        _, one = await loop.create_connection(lambda: _Listener(heard), "127.0.0.1", port)
        one.ask(path)
        open_.append(one)
    for one in open_:
        await asyncio.wait_for(one.begun, PATIENCE)
    ready()
    ended = asyncio.gather(*(one.ended for one in open_))
    while not ended.done():
        tick()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(ended), 0.1)
        if time.perf_counter() - begun > 20 * PATIENCE:
            ended.cancel()
            break
    heard.took = time.perf_counter() - begun
    heard.wrong += sum(not one.complete for one in open_)
    return heard


class _Listener(asyncio.Protocol):
    """One stream of one job: its rows are to come one after the other, from the first on."""

    def __init__(self, heard: Heard) -> None:
        loop = asyncio.get_running_loop()
        self.begun = loop.create_future()
        self.ended = loop.create_future()
        self.complete = False
        self._heard = heard
        self._buffer = b""
        self._next = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, path: str) -> None:
        """Opens the stream."""
        self._transport.write(request("GET", path, Accept="text/event-stream"))

    def data_received(self, data: bytes) -> None:
        # the marks of HTTP's chunks stand between events, on lines of their own
        self._buffer += data
        *events, self._buffer = self._buffer.split(b"\n\n")
        for event in events:
            if not self.begun.done():
                self.begun.set_result(None)
            kind = event.rpartition(b"event: ")[2].split(b"\n", 1)[0]
            if kind == b"points":
                self._points(json.loads(event.partition(b"data: ")[2]))
            elif kind == b"end":
                self.complete = True
                self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        for future in (self.begun, self.ended):
            if not future.done():
                future.set_result(None)

    def _points(self, told: dict[str, dict[str, list[float]]]) -> None:
        iterations = told["columns"]["iteration"]
        expected = range(self._next, self._next + len(iterations))
        self._heard.wrong += sum(a != b for a, b in zip(iterations, expected, strict=True))
        self._next = int(iterations[-1]) + 1
        self._heard.points += len(iterations)
        self._heard.delays.append(time.time() - told["columns"]["lr"][-1])
