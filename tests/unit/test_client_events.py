"""The client's listener against a server that is a function: what it bears, when it gives up."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from stepsize import ApiError, Client, End, Job, Points, UnreachableError
from stepsize import events as listening
from stepsize.errors import NotStepsizeError
from stepsize.events import Message, messages

JOB: dict[str, Any] = {"id": "job_1", "kind": "training", "state": "running"}
END = {"job": "job_1", "reason": "finished", "state": "succeeded"}
POINTS = {
    "job": "job_1",
    "repeat": 0,
    "names": ["loss"],
    "start": 0,
    "next_start": 2,
    "columns": {"iteration": [0, 1], "loss": [0.5, None]},
    "nonfinite": {"loss": [1]},
}


def event(number: int, name: str, data: object) -> bytes:
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()


def stream(*parts: bytes | Exception) -> httpx.Response:
    def pieces() -> Iterator[bytes]:
        yield b"retry: 1\n\n"
        for part in parts:
            if isinstance(part, Exception):
                raise part
            yield part

    return httpx.Response(200, content=pieces())


def follows(*answers: httpx.Response | Exception) -> tuple[Client, list[httpx.Request]]:
    asked: list[httpx.Request] = []
    rest = iter(answers)

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        answer = next(rest)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Client("http://test", http_transport=httpx.MockTransport(handle)), asked


def test_events_are_values() -> None:
    client, asked = follows(
        stream(
            event(1, "state", JOB),
            b": ping\n\n",
            event(2, "points", POINTS),
            event(3, "news", {}),
            event(4, "end", END),
        )
    )
    job, points, end = client.events("job_1", start=7)
    assert isinstance(job, Job)
    assert isinstance(points, Points)
    assert isinstance(end, End)
    np.testing.assert_array_equal(points.loss, [0.5, np.nan])
    assert (points.start, points.next_start, end.reason) == (0, 2, "finished")
    assert asked[0].url.path == "/v1/jobs/job_1/events"
    assert dict(asked[0].url.params) == {"names": "loss", "repeat": "0", "start": "7"}
    assert asked[0].extensions["timeout"]["read"] > 15


def test_it_goes_on_after_the_last_event_that_arrived() -> None:
    lost = httpx.ReadError("connection reset")
    client, asked = follows(
        stream(event(1, "state", JOB), event(2, "points", POINTS)[:-20], lost),
        httpx.ConnectError("refused"),
        httpx.Response(503, json={"title": "away"}),
        stream(),
        stream(event(2, "points", POINTS), event(3, "end", END)),
    )
    assert len(list(client.events("job_1"))) == 3
    assert [each.headers.get("last-event-id") for each in asked] == [None, *["1"] * 4]


def test_many_jobs_end_when_all_have() -> None:
    other = {**END, "job": "job_2"}
    client, asked = follows(
        stream(event(1, "end", END), event(2, "state", JOB), event(3, "end", other)),
        stream(event(4, "end", END)),
    )
    assert len(list(client.events("job_1", "job_2", "job_1"))) == 4
    assert asked[0].url.path == "/v1/events"
    assert asked[0].url.params["jobs"] == "job_1,job_2"


def test_what_has_ended_already_is_204() -> None:
    client, _ = follows(stream(event(1, "state", JOB)), httpx.Response(204))
    assert len(list(client.events("job_1"))) == 1


def test_a_refusal_is_told() -> None:
    missing = httpx.Response(404, json={"title": "Not Found", "status": 404})
    client, _ = follows(missing)
    with pytest.raises(ApiError, match="Not Found"):
        next(client.events("job_1"))
    client, _ = follows(httpx.Response(503, json={"title": "away"}))
    with pytest.raises(ApiError, match="away"):  # it never answered: nothing to wait for
        next(client.events("job_1"))


def test_a_server_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "PATIENCE", 0.0)
    client, _ = follows(stream(event(1, "state", JOB), httpx.ReadError("reset")))
    arriving = client.events("job_1")
    next(arriving)
    with pytest.raises(UnreachableError, match="again and again: reset"):
        next(arriving)


def test_what_is_no_event_is_said() -> None:
    client, _ = follows(stream(event(1, "state", {"nonsense": 1})))
    with pytest.raises(NotStepsizeError):
        next(client.events("job_1"))


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_arrive_in_pieces_of_any_size(size: int) -> None:
    text = "retry: 5\n\n: x\n\nid: 1\r\nevent: a\r\ndata: é\u2028\r\ndata:b\r\n\r\nid: 2\ndata: c"
    raw = text.encode()
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    assert list(messages(pieces)) == [
        Message(retry=5),
        Message(),
        Message("a", "é\u2028\nb", "1"),
    ]
