"""The figures of `/metrics`: those of the whole deployment from SQL, those of this process."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from importlib.metadata import version
from typing import TypeVar, get_args

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from api.changes import Changes
from api.passes import Passes
from api.streams import Streams
from spec import tallies
from spec.states import State
from store import figures, workers
from store.database import AT_MOST, Sessions, Unavailable, describe
from store.figures import Queue

log = logging.getLogger(__name__)

T = TypeVar("T")

FRESH = 5.0
"""Seconds for which figures are told again without asking the database."""

SHARE = 0.02
"""Of the time of one connection that figures may take: those that take long are told for longer."""

QUEUES = 50
"""That are told by name; clients may name as many as they like."""

OTHERS = "(others)"
"""All other queues: no queue can have this name."""

WORKER_STATES: tuple[str, ...] = get_args(workers.WorkerState)

_COUNTED = {
    "iterations": (tallies.ITERATIONS, "Iterations that workers have made and stored."),
    "points": (tallies.POINTS, "Rows of series that workers have stored."),
    "series_bytes": (tallies.SERIES_BYTES, "Bytes of the chunks that workers have stored."),
    "checkpoints": (tallies.CHECKPOINTS, "Checkpoints that workers have written."),
    "checkpoint_written_bytes": (tallies.CHECKPOINT_BYTES, "Bytes of these checkpoints."),
    "checkpoint_failures": (tallies.CHECKPOINT_FAILURES, "Checkpoints that could not be written."),
}


class Figures(Collector):
    """The same from every API process: what SQL says, asked once in a while."""

    def __init__(
        self,
        sessions: Sessions,
        *,
        lost_after: timedelta,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._lost_after = lost_after
        self._clock = clock
        self._lock = threading.Lock()
        self._known: list[Metric] = []
        self._until = float("-inf")

    def describe(self) -> Iterable[Metric]:
        """Nothing is counted before somebody asks."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """What is known; where the database is away, that it is, and nothing else."""
        with self._lock:  # one asks, and tells all
            if self._clock() >= self._until:
                self._ask()
            return self._known

    def _ask(self) -> None:
        began = self._clock()
        try:
            with self._sessions.read() as tx:
                found = figures.read(tx, lost_after=self._lost_after)
        except Unavailable as error:
            log.warning("metrics.failed %s", describe(error))
            self._known = [_up(0)]
        else:
            took = self._clock() - began
            self._known = [_up(1), *_told(found), _gauge("figures_seconds", _TOOK, took)]
        now = self._clock()
        self._until = now + max(FRESH, (now - began) / SHARE)


_TOOK = "How long it took the database to say what is said here."


def _told(found: figures.Figures) -> Iterator[Metric]:
    jobs = _family(GaugeMetricFamily, "jobs", "Jobs by state.", "state")
    for state in State:
        jobs.add_metric([state], found.jobs.get(state, 0))
    yield jobs
    yield from _queues(found.queues)
    pool = _family(GaugeMetricFamily, "workers", "Workers by state and kind.", "state", "device")
    for name in WORKER_STATES:
        for device in figures.DEVICES:
            pool.add_metric([name, device], found.workers.get((name, device), 0))
    yield pool
    claims = _family(CounterMetricFamily, "claims", "Jobs claimed; again: a retry.", "again")
    for again, name in tallies.CLAIMS.items():
        claims.add_metric([again], found.totals.get(name, 0))
    yield claims
    ends = "Attempts that have ended; lost: with their lease."
    ended = _family(CounterMetricFamily, "attempts_ended", ends, "outcome", "reason")
    for (outcome, reason), name in tallies.ENDED.items():
        ended.add_metric([outcome, reason or ""], found.totals.get(name, 0))
    yield ended
    for told, (name, meaning) in _COUNTED.items():
        yield CounterMetricFamily(f"stepsize_{told}", meaning, found.totals.get(name, 0))
    meaning = "Messages to webhooks, due or to be tried later."
    messages = _family(GaugeMetricFamily, "webhook_messages", meaning, "state")
    for due, count in found.messages.items():
        messages.add_metric([due], count)
    yield messages
    yield _gauge("led", "Whether a reconciler leads: 1, or 0.", found.led)
    yield _gauge(
        "checkpoint_bytes", "Bytes of the checkpoints that are kept.", found.checkpoint_bytes
    )
    yield _gauge("database_bytes", "Bytes of the database on its disk.", found.database_bytes)


def _queues(queues: Mapping[str, Queue]) -> Iterator[Metric]:
    depth = _family(GaugeMetricFamily, "queue_depth", "Jobs that could be claimed now.", "queue")
    meaning = "Seconds for which the first of these has waited."
    age = _family(GaugeMetricFamily, "queue_age_seconds", meaning, "queue")
    meaning = "Of these jobs, those that no living worker can take."
    unserved = _family(GaugeMetricFamily, "queue_unserved", meaning, "queue")
    serving = _family(GaugeMetricFamily, "queue_workers", "Workers that serve it.", "queue")
    for name, each in named(queues).items():
        depth.add_metric([name], each.ready)
        age.add_metric([name], each.oldest.total_seconds())
        unserved.add_metric([name], each.unserved)
        serving.add_metric([name], each.workers)
    yield from (depth, age, unserved, serving)


def named(queues: Mapping[str, Queue]) -> dict[str, Queue]:
    """The queues that are told by name, served ones and then deep ones first, and all others."""
    first = sorted(queues, key=lambda name: (-queues[name].workers, -queues[name].ready, name))
    rest = [queues[name] for name in first[QUEUES:]]
    others = Queue(
        ready=sum(each.ready for each in rest),
        unserved=sum(each.unserved for each in rest),
        oldest=max((each.oldest for each in rest), default=timedelta()),
        workers=sum(each.workers for each in rest),
    )
    return {name: queues[name] for name in first[:QUEUES]} | {OTHERS: others}


class Process(Collector):
    """What this API process does besides answering."""

    def __init__(
        self, sessions: Sessions, passes: Passes, streams: Streams, changes: Changes
    ) -> None:
        self._sessions = sessions
        self._passes = passes
        self._streams = streams
        self._changes = changes

    def describe(self) -> Iterable[Metric]:
        """As above."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """As it is now."""
        build = _family(GaugeMetricFamily, "build_info", "The version of the API.", "version")
        build.add_metric([version("stepsize")], 1)
        yield build
        yield _gauge("streams", "Streams of events that are open.", self._streams.open)
        yield _gauge("waiting", "Requests and streams that wait for news.", self._changes.waiting)
        in_use, free = self._sessions.connections
        pool = _family(GaugeMetricFamily, "database_connections", "Of this process.", "state")
        pool.add_metric(["in_use"], in_use)
        pool.add_metric(["free"], free)
        yield pool
        yield _gauge("database_connections_most", "It opens no more.", AT_MOST)
        passes = self._passes
        yield _gauge("leader", "Whether this process looks after lost jobs.", passes.leads)
        yield SummaryMetricFamily(
            "stepsize_reconciler_pass_seconds",
            "Passes of the reconciler, and how long they took.",
            count_value=passes.succeeded,
            sum_value=passes.seconds,
        )
        yield CounterMetricFamily(
            "stepsize_reconciler_failures", "Passes of the reconciler that failed.", passes.failed
        )
        last = "When the last pass succeeded, in seconds since 1970."
        yield _gauge("reconciler_last_success_timestamp_seconds", last, passes.succeeded_at)


def _up(up: int) -> Metric:
    return _gauge("database_up", "Whether the database answers: 1, or 0.", up)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"stepsize_{name}", meaning, value)


def _family(kind: Callable[..., T], name: str, meaning: str, *labels: str) -> T:
    return kind(f"stepsize_{name}", meaning, labels=labels)
