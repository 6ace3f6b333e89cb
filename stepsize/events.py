"""Follows jobs by server-sent events, and asks for what comes next when a connection is lost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import quote

import httpx

from stepsize import transport
from stepsize.answers import Answer
from stepsize.errors import ApiError, NotStepsizeError, UnreachableError
from stepsize.series import Columns, ColumnsAnswer, columns_of
from stepsize.values import Job

PATIENCE = 60.0
"""Seconds that a server may be away, say restarting."""

SILENCE = 45.0
"""Seconds without a byte after which a connection is taken for lost; a comment comes every 15."""

LONGEST_PAUSE = 15.0

PASSING = {429, 503}


@dataclass(frozen=True, eq=False)
class Points(Columns):
    """Rows of a job that have been recorded since the last ones; those to come at `next_start`.

    `damaged` names stored chunks that the server could not read, whose rows are missing.
    """

    job: str
    repeat: int
    start: int
    next_start: int
    damaged: Sequence[Mapping[str, Any]] = ()


class End(Answer):
    """Nothing more is to come of a job: it is `finished`, or it was `deleted`, or not readable.

    A job that is retried lives again: its state comes anew, on a stream that is still open.
    """

    job: str
    reason: str
    state: str | None = None
    detail: str | None = None


Event: TypeAlias = Job | Points | End
"""What a stream brings: the job as it is now (without its history), its new rows, its end."""


class _PointsAnswer(ColumnsAnswer):
    job: str
    repeat: int
    start: int
    next_start: int
    damaged: Sequence[Mapping[str, Any]] = ()


@dataclass
class Message:
    """One server-sent event; the name and the id are empty where it has none."""

    name: str = ""
    data: str = ""
    id: str = ""
    retry: int | None = None


@dataclass
class _Listener:
    """What is to be known when a connection is lost."""

    last: str = ""
    retry: float = 1.0
    lost: int = 0
    contact: float = field(default_factory=time.monotonic)
    ended: set[str] = field(default_factory=set)
    home: object = None

    def listen(self, answer: httpx.Response) -> Iterator[Event]:
        for message in messages(answer.iter_bytes()):
            self.contact, self.lost = time.monotonic(), 0
            self.retry = self.retry if message.retry is None else message.retry / 1000
            self.last = message.id or self.last
            event = _event(message, self.home)
            if event is not None:
                job = event.id if isinstance(event, Job) else event.job
                (self.ended.add if isinstance(event, End) else self.ended.discard)(job)
                yield event


def follow(
    http: httpx.Client, jobs: Sequence[str], params: Mapping[str, Any], *, home: object = None
) -> Iterator[Event]:
    """Everything that a stream about jobs brings, each event once, until all have ended.

    Raises:
        UnreachableError: the server is away, for longer than PATIENCE once it has answered.
        ApiError: the server refused.
    """
    path = f"/v1/jobs/{quote(jobs[0], safe='')}/events" if len(jobs) == 1 else "/v1/events"
    if len(jobs) != 1:
        params = {**params, "jobs": ",".join(jobs)}
    here = _Listener(home=home)
    while True:
        headers = {"Last-Event-ID": here.last} if here.last else {}
        try:
            with contextlib.closing(_opened(http, path, params, headers)) as answer:
                if answer.status_code == httpx.codes.NO_CONTENT:
                    return
                yield from here.listen(answer)
        except (ApiError, UnreachableError) as error:
            passing = not isinstance(error, ApiError) or error.status in PASSING
            if not (here.last and passing) or time.monotonic() - here.contact > PATIENCE:
                raise
        except httpx.TransportError as error:
            if time.monotonic() - here.contact > PATIENCE:
                raise UnreachableError(
                    f"the connection is lost again and again: {error}"
                ) from error
        if len(here.ended) == len(jobs):
            return
        time.sleep(min(here.retry * 2**here.lost, LONGEST_PAUSE))
        here.lost += 1


def messages(pieces: Iterable[bytes]) -> Iterator[Message]:
    """The events in a stream of bytes; what is cut off in the middle is none."""
    message, data, rest = Message(), [], b""
    for piece in pieces:
        # a line may be longer than a piece; none of the server's ends in a carriage return alone
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            name, _, value = line.removesuffix(b"\r").decode().partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                data.append(value)
            elif name == "event":
                message.name = value
            elif name == "id":
                message.id = value
            elif name == "retry" and value.isdecimal():
                message.retry = int(value)
            elif not line.strip():
                message.data = "\n".join(data)
                yield message
                message, data = Message(), []


def _opened(
    http: httpx.Client, path: str, params: Mapping[str, Any], headers: Mapping[str, str]
) -> httpx.Response:
    return transport.send(
        http, "GET", path, params=params, headers=headers, stream=True, silence=SILENCE
    )


def _event(message: Message, home: object) -> Event | None:
    try:
        if message.name == "state":
            return Job.model_validate_json(message.data, context=home)
        if message.name == "end":
            return End.model_validate_json(message.data)
        if message.name == "points":
            told = _PointsAnswer.model_validate_json(message.data)
            return Points(
                columns_of(told), told.job, told.repeat, told.start, told.next_start, told.damaged
            )
    except ValueError as error:
        raise NotStepsizeError("an event is not what a stepsize server sends") from error
    return None  # a comment, or what only a newer client knows
