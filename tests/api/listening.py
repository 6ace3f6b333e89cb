"""A real server on a socket, and listeners to its streams: a test client would buffer them."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from api.streams import Streams
from stepsize.events import messages

DEADLINE = 30.0


@dataclass
class Event:
    """One event as it came; a comment has no name."""

    name: str
    id: str
    data: dict[str, Any]


@dataclass
class Server:
    """A running API."""

    url: str
    app: FastAPI

    @property
    def streams(self) -> Streams:
        streams: Streams = self.app.state.streams
        return streams

    @contextlib.contextmanager
    def listening(
        self,
        path: str,
        last: str = "",
        headers: Mapping[str, str] | None = None,
        **query: object,
    ) -> Iterator[tuple[httpx.Response, Iterator[Event]]]:
        """An open stream and its events, comments included."""
        headers = {**(headers or {}), **({"Last-Event-ID": last} if last else {})}
        params = {name: str(value) for name, value in query.items()}
        with (
            httpx.Client(base_url=self.url, timeout=DEADLINE, verify=False) as http,
            http.stream("GET", path, params=params, headers=headers) as answer,
        ):
            yield answer, events(answer)

    def read(self, path: str, last: str = "", **query: object) -> list[Event]:
        """All events of a stream that ends by itself."""
        with self.listening(path, last, **query) as (answer, arriving):
            assert answer.status_code == 200, answer.read()
            return [event for event in arriving if event.name]

    def status(self, path: str, last: str = "", **query: object) -> int:
        with self.listening(path, last, **query) as (answer, _):
            return answer.status_code


def events(answer: httpx.Response) -> Iterator[Event]:
    for message in messages(answer.iter_bytes()):
        if message.retry is None:
            data = json.loads(message.data, parse_constant=_refuse) if message.data else {}
            yield Event(message.name, message.id, data)


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def rows(arrived: list[Event], name: str = "loss") -> tuple[list[int], list[float | None]]:
    """Iterations and values of all points."""
    points = [event.data["columns"] for event in arrived if event.name == "points"]
    return (
        [each for columns in points for each in columns["iteration"]],
        [each for columns in points for each in columns[name]],
    )


@contextlib.contextmanager
def served(app: FastAPI) -> Iterator[Server]:
    config = uvicorn.Config(app, lifespan="off", ws="none", log_level="warning", log_config=None)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{listener.getsockname()[1]}", app)
    finally:
        app.state.changes.close()
        server.should_exit = True
        thread.join(DEADLINE)
        listener.close()
        app.state.streams.frames.close()


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.005)
