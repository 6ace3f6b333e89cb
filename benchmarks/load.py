"""Asks a server as fast as it answers, and costs as little as it can: bytes in, bytes out."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

import uvloop

PATIENCE = 30.0
"""Seconds after which an answer counts as missing."""


@dataclass
class Load:
    """What was answered.

    Attributes:
        seconds: how long each answer took.
        statuses: how many answers had which.
        lost: connections that ended, or requests without an answer.
        took: seconds, of all.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    took: float = 0.0


def hammer(
    port: int,
    requests: Iterator[bytes],
    *,
    connections: int,
    seconds: float,
    tick: Callable[[], None],
) -> Load:
    """Sends the requests one after the other over so many connections, each waiting for answers.

    `tick` is called ten times a second.
    """
    return uvloop.run(_hammer(port, requests, connections, seconds, tick))


async def _hammer(
    port: int,
    requests: Iterator[bytes],
    connections: int,
    seconds: float,
    tick: Callable[[], None],
) -> Load:
    load = Load()
    loop = asyncio.get_running_loop()
    begun = perf_counter()
    open_ = [
        (await loop.create_connection(lambda: _Connection(load, requests), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    for each in open_:
        each.ask(until=begun + seconds)
    ended = asyncio.gather(*(each.ended for each in open_))
    while perf_counter() < begun + seconds + PATIENCE:
        tick()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(ended), 0.1)
            break
    load.lost += sum(not each.ended.done() for each in open_)
    ended.cancel()
    load.took = perf_counter() - begun
    return load


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of one."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Connection(asyncio.Protocol):
    """One that is kept alive, with one request at a time."""

    def __init__(self, load: Load, requests: Iterator[bytes]) -> None:
        self._load = load
        self._requests = requests
        self._buffer = bytearray()
        self._missing = -1
        self._until = self._sent = 0.0
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        if not self.ended.done():
            self._load.lost += 1
            self.ended.set_result(None)

    def ask(self, *, until: float) -> None:
        """Sends the next request, unless the time is over."""
        self._until = until
        self._sent = perf_counter()
        if self._sent >= until:
            self.ended.set_result(None)
            self._transport.close()
            return
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        if self._missing > 0:  # a long body is counted, not kept
            self._missing -= len(data)
        else:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[: end + 2]).lower()
            self._status = int(head[9:12])
            at = head.find(b"\r\ncontent-length: ")
            length = int(head[at + 18 : head.index(b"\r\n", at + 18)]) if at >= 0 else 0
            self._missing = length - (len(self._buffer) - end - 4)
        if self._missing <= 0:
            self._load.seconds.append(perf_counter() - self._sent)
            self._load.statuses[self._status] += 1
            self._buffer.clear()
            self._missing = -1
            self.ask(until=self._until)
