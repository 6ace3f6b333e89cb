"""A small server in a thread for the commands, and the commands as people type them."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner, Result

from stepsize.cli import app

JOB: dict[str, Any] = {
    "id": "job_1",
    "kind": "range_test",
    "state": "queued",
    "name": "digits [mlp]",
    "spec": {},
    "progress": {"iteration": 0, "iterations": None},
    "created_at": "2026-01-31T12:00:00Z",
}

Answer = tuple[int, Any]


@dataclass
class Fake:
    """What is asked, as (method, path, query, body), and what is answered, by method and path."""

    url: str
    answers: dict[str, Answer | list[Answer]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, list[str]], Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def answer(self, route: str) -> Answer:
        planned = self.answers.get(route, (404, {"title": "Not Found", "status": 404}))
        if isinstance(planned, list):
            return planned.pop(0) if len(planned) > 1 else planned[0]
        return planned


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = int(self.headers.get("content-length", 0))
            body = json.loads(self.rfile.read(size)) if size else None
            url = urlsplit(self.path)
            served.asked.append((self.command, url.path, parse_qs(url.query), body))
            status, answer = served.answer(f"{self.command} {url.path}")
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            for name, value in served.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            self.do_GET()

        def do_PUT(self) -> None:
            self.do_GET()

        def do_PATCH(self) -> None:
            self.do_GET()

        def do_DELETE(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Fake(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("STEPSIZE_URL", served.url)
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run() -> Callable[..., Result]:
    def typed(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, arguments, input=stdin)

    return typed


Run = Callable[..., Result]
