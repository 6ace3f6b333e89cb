"""What is new of a job, read and encoded once for all listeners that are at the same place."""

import asyncio
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import orjson
from fastapi.sse import format_sse_event

from api.answers import JobOut
from api.series import columns, dumped
from store import jobs, series
from store.database import Sessions
from store.jobs import Job

VALUES = 16_384
"""Numbers in one frame, of some 20 characters each."""

KEPT = 32_000_000
"""Bytes of frames that are kept for listeners that come to the same place a little later."""

READERS = 4
"""Frames that are read at once: each takes a thread and a connection to the database."""


@dataclass(frozen=True)
class Place:
    """Where listeners are that are told the same."""

    job_id: str
    names: tuple[str, ...]
    series: str
    repeat: int
    start: int
    # that the job has by now, or an earlier one: what was read before it is of no use
    version: int


@dataclass(frozen=True)
class Frame:
    """What follows a place, as events that lack their ids; `more` where rows are left for later."""

    version: int
    state: bytes
    points: bytes | None
    next_start: int
    end: bytes | None
    more: bool

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.state) + len(self.points or b"")


class Frames:
    """The frames that listeners ask for; the latest are kept, and none is read twice at once."""

    def __init__(self, sessions: Sessions, *, kept: int = KEPT) -> None:
        self.sessions = sessions
        self._kept = kept
        self._size = 0
        self._frames: OrderedDict[Place, Frame] = OrderedDict()
        self._underway: dict[Place, Future[Frame]] = {}
        self._lock = threading.Lock()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="frames")

    async def after(self, place: Place) -> Frame:
        """The frame that follows a place.

        Raises:
            JobNotFoundError: the job has been deleted.
            NotRecordedError: a name is not among what the job records.
        """
        with self._lock:
            if found := self._frames.get(place):
                self._frames.move_to_end(place)
                return found
            reading = self._underway.get(place)
            if reading is None:
                reading = self._underway[place] = self._readers.submit(self._read, place)
        # others may want it, should this listener go away
        return await asyncio.shield(asyncio.wrap_future(reading))

    def close(self) -> None:
        """Waits for what is being read."""
        self._readers.shutdown()

    def _read(self, place: Place) -> Frame:
        try:
            frame = read(self.sessions, place)
        except BaseException:
            with self._lock:
                del self._underway[place]
            raise
        with self._lock:
            del self._underway[place]
            self._frames[place] = frame
            self._size += frame.size
            while self._size > self._kept:
                _, oldest = self._frames.popitem(last=False)
                self._size -= oldest.size
        return frame


def read(sessions: Sessions, place: Place) -> Frame:
    """The frame that follows a place, from the database; the job and its rows at one moment."""
    rows = None
    with sessions.read() as tx:
        job = jobs.get(tx, place.job_id)
        if place.names:
            rows = series.after(
                tx,
                place.job_id,
                list(place.names),
                series=place.series,
                repeat=place.repeat,
                start=place.start,
                limit=VALUES // (len(place.names) + 1),
            )
    points = None
    if rows is not None and len(rows.iteration):
        points = _event("points", dumped(_points(job, rows, place)))
    more = rows is not None and rows.cut
    return Frame(
        version=job.version,
        state=_event("state", JobOut.of(job).model_dump_json().encode()),
        points=points,
        next_start=place.start if rows is None else rows.next_start,
        end=None if more or not job.state.finished else end_of(job.id, "finished", job.state),
        more=more,
    )


def end_of(job_id: str, reason: str, state: str | None = None, detail: str | None = None) -> bytes:
    """The event that says that nothing more is to be told of a job, and why."""
    told = {"job": job_id, "reason": reason, "state": state, "detail": detail}
    return _event("end", orjson.dumps(told))


def _points(job: Job, rows: series.Rows, place: Place) -> dict[str, object]:
    told = columns(job, rows)
    kept = {name: told[name] for name in ("names", "next_start", "columns")}
    found = {"job": job.id, "repeat": place.repeat, "start": place.start, **kept}
    return found | {name: told[name] for name in ("nonfinite", "damaged") if told[name]}


def _event(name: str, data: bytes) -> bytes:
    return format_sse_event(event=name, data_str=data.decode())
