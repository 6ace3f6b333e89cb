"""Server-sent events about jobs: their states and rows as they come, from where a listener is."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace

from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.types import Receive, Scope, Send

from api.changes import Changes, Versions
from api.frames import Frames, end_of
from api.positions import Position, Topic
from store.database import Unavailable, describe
from store.jobs import JobNotFoundError
from store.series import NotRecordedError

log = logging.getLogger(__name__)

MOST = 2_000
"""Streams that one process has open."""

LONGEST = 600.0
"""Seconds that a stream lasts: then its client comes again, with a key that may be another's."""

KEEP_ALIVE = 15.0
"""Seconds of silence before a comment."""

AGAIN = 1.0
"""Seconds before the database is asked again that did not answer."""

RETRY = (1_000, 3_000)
"""Milliseconds after which clients come again: not all at once, should a server be restarted."""

HEADERS = {"X-Accel-Buffering": "no"}
"""What keeps proxies from holding events back."""


@dataclass
class Streams:
    """What all streams of a process share."""

    frames: Frames
    changes: Changes
    open: int = 0

    @property
    def full(self) -> bool:
        """Whether no stream may be opened now."""
        return self.open >= MOST


class Stream(EventSourceResponse):
    """The answer that is one stream; it frees what it holds, however it ends."""

    def __init__(
        self,
        streams: Streams,
        topic: Topic,
        positions: Mapping[str, Position],
        versions: Versions,
    ) -> None:
        self._streams = streams
        self._events = _events(streams, topic, dict(positions), versions)
        super().__init__(self._events, headers=HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request (ASGI)."""
        self._streams.open += 1
        try:
            async with asyncio.timeout(LONGEST + KEEP_ALIVE):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            log.info("stream.stalled")  # its client reads nothing, so it cannot be told to go
        finally:
            self._streams.open -= 1
            await self._events.aclose()  # not when its memory happens to be collected


async def _events(
    streams: Streams, topic: Topic, at: dict[str, Position], versions: Versions
) -> AsyncGenerator[bytes]:
    """Every event from the positions on, until all jobs have ended or the time is over.

    It holds one frame, and reads on once that has been sent.
    """
    until = time.monotonic() + LONGEST
    known = dict(versions)
    news = dict(versions)  # jobs to be looked at, with a version that they have had by now
    yield format_sse_event(retry=random.randint(*RETRY))  # noqa: S311 - no secret
    while not streams.changes.closed and (left := until - time.monotonic()) > 0:
        away = False
        for job_id, version in list(news.items()):
            told, more = await _look(streams.frames, topic, job_id, version, at[job_id])
            away |= more and not told
            for event, position in told:
                if position != at[job_id]:
                    at[job_id] = position
                    yield f"id: {topic.id_of(at)}\n".encode() + event
            if more:
                continue
            del news[job_id]
            if version is None:
                # deleted, or another's, whose id the poll would find: it is not asked for again
                known.pop(job_id, None)
            else:
                known[job_id] = max(version, at[job_id].version)
        if news and not away:
            continue
        if all(position.ended for position in at.values()):
            return
        pause = min(left, AGAIN if away else KEEP_ALIVE)
        changed = await streams.changes.wait(known, within=pause)
        news |= changed
        if not changed:
            yield KEEPALIVE_COMMENT


async def _look(
    frames: Frames, topic: Topic, job_id: str, version: int | None, here: Position
) -> tuple[list[tuple[bytes, Position]], bool]:
    """What is new of a job, each with the position after it, and whether there is more.

    More, and nothing new, is where the database is away.
    """
    ended = replace(here, ended=True)
    if version is None:
        return [(end_of(job_id, "deleted"), ended)], False
    place = topic.place(job_id, here.start, max(version, here.version))
    try:
        frame = await frames.after(place)
    except JobNotFoundError:
        return [(end_of(job_id, "deleted"), ended)], False
    except Unavailable as error:
        log.warning("stream.waits job=%s %s", job_id, describe(error))
        return [], True
    except NotRecordedError as error:
        log.warning("stream.unreadable job=%s %s", job_id, error)
        ended = replace(ended, version=place.version)
        event = end_of(job_id, "not_recorded", detail=str(error))
        return [] if here.ended else [(event, ended)], False
    told: list[tuple[bytes, Position]] = []
    if frame.version > here.version:
        here = Position(frame.version, here.start)
        told.append((frame.state, here))
    if frame.points is not None:
        here = replace(here, start=frame.next_start)
        told.append((frame.points, here))
    if frame.end is not None:
        told.append((frame.end, replace(here, ended=True)))
    return told, frame.more
