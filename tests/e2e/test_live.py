"""Streams of a real process: they follow a job as it runs, and do not keep a server from ending."""

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.__main__ import GRACE
from stepsize import Client, End, Job, Points
from store.database import connect
from tests.api.listening import events
from tests.e2e.service import Service, deployed
from tests.factories import claimed, record, rows, training_json


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    folder = tmp_path / "service"
    folder.mkdir()
    with deployed(folder, f"sqlite:///{tmp_path / 'stepsize.db'}") as running:
        yield running


def test_a_job_is_followed_through_a_restart(service: Service) -> None:
    """Every row arrives once although the server goes away in the middle."""
    service.start_worker()
    spec = training_json(
        model={"name": "mlp", "params": {"hidden": [256, 256]}}, length={"iterations": 3000}
    )
    job_id = service.submit(spec)
    seen: list[int] = []
    losses: list[float] = []
    states: list[str] = []
    restarted = False
    with Client(f"http://127.0.0.1:{service.port}") as client:
        for event in client.events(job_id):
            match event:
                case Job():
                    states.append(event.state)
                case Points():
                    seen += event.iteration.tolist()
                    losses += event.loss.tolist()
                    if not restarted:
                        restarted = True
                        api = service.processes[1]
                        api.kill()
                        api.wait()
                        service.start_api()
                case End():
                    assert event.reason == "finished"
    assert states[-1] == "succeeded"
    columns = service.series(job_id, names="loss")["columns"]
    assert (seen, losses) == (columns["iteration"], columns["loss"])


def test_streams_end_with_their_server(service: Service) -> None:
    """A listener that reads is let go at once; one that does not is not waited for for long."""
    job_id = service.submit(training_json())
    sessions = connect(service.database_url)
    lease = claimed(sessions)
    for at in range(0, 1_000_000, 50_000):  # more than fits the buffers of a connection
        record(sessions, lease, at + 50_000, rows(at, at + 50_000))
    sessions.close()
    path = f"/v1/jobs/{job_id}/events"
    api = service.processes[1]
    with socket.create_connection(("127.0.0.1", service.port)) as deaf:
        deaf.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        url = f"http://127.0.0.1:{service.port}{path}"
        with httpx.stream("GET", url, timeout=20) as answer:
            arriving = events(answer)
            heard = 0
            while heard < 1_000_000:  # so far the other one would be, if it read
                heard = next(arriving).data.get("next_start", heard)
            began = time.monotonic()
            api.send_signal(signal.SIGTERM)
            assert [event for event in arriving if event.name] == []
            assert time.monotonic() - began < 2
        assert api.wait(timeout=GRACE + 5) in {0, -signal.SIGTERM}  # uvicorn passes it on
        assert time.monotonic() - began > GRACE - 1
