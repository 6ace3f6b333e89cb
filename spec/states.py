"""The states of a job and the moves between them, as data.

The store carries the moves out, `docs/states.md` explains them, and a test compares all three.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        """Whether only a retry can move the job on."""
        return self in FINISHED


FINISHED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})


class Reason(StrEnum):
    """Why a job failed."""

    INVALID = "invalid"
    CODE = "code"
    OOM = "oom"
    WORKER_LOST = "worker_lost"
    TIMEOUT = "timeout"
    STALLED = "stalled"


@dataclass(frozen=True)
class Retries:
    """How often a job is queued again by itself after a failure, and how long it waits first."""

    times: int
    delay: timedelta


NO_RETRIES = Retries(0, timedelta())

RETRIES = {
    # one of several processes of a job ended; a worker that is lost itself is counted by its lease
    Reason.WORKER_LOST: Retries(2, timedelta(seconds=10)),
    # what else holds the memory may be gone by then
    Reason.OOM: Retries(1, timedelta(seconds=5)),
    # a driver that hung, a file system that was away
    Reason.STALLED: Retries(2, timedelta(seconds=10)),
}
"""By reason; the same spec fails again for every other."""

MACHINES = frozenset({Reason.STALLED, Reason.WORKER_LOST})
"""Reasons that speak of the machine rather than of the job."""


@dataclass(frozen=True)
class Move:
    """One arrow of the state diagram: a verb, carried out by a function of the same name."""

    verb: str
    sources: tuple[State, ...]
    target: State
    actor: str
    meaning: str


MOVES = (
    Move(
        "claim", (State.QUEUED,), State.RUNNING, "worker", "takes the best ready job; attempt + 1"
    ),
    Move(
        "renew", (State.RUNNING,), State.RUNNING, "worker", "keeps the lease and hears of requests"
    ),
    Move("succeed", (State.RUNNING,), State.SUCCEEDED, "worker", "ends the job with its result"),
    Move("fail", (State.RUNNING,), State.FAILED, "worker", "ends the job with a reason"),
    Move("fail", (State.RUNNING,), State.QUEUED, "worker", "a reason that may pass; failures + 1"),
    Move("fail", (State.RUNNING,), State.PAUSED, "worker", "as above, with a pause asked for"),
    Move("hand_back", (State.RUNNING,), State.QUEUED, "worker", "is to stop; not a crash"),
    Move(
        "hand_back",
        (State.RUNNING,),
        State.CANCELLED,
        "worker",
        "as above, with a cancel asked for",
    ),
    Move("hand_back", (State.RUNNING,), State.PAUSED, "worker", "as above, with a pause asked for"),
    Move("confirm_cancel", (State.RUNNING,), State.CANCELLED, "worker", "stops as it was asked to"),
    Move("expire", (State.RUNNING,), State.QUEUED, "reconciler", "the lease ran out; crashes + 1"),
    Move("expire", (State.RUNNING,), State.FAILED, "reconciler", "as above, once too often"),
    Move(
        "expire",
        (State.RUNNING,),
        State.CANCELLED,
        "reconciler",
        "as above, with a cancel asked for",
    ),
    Move(
        "expire", (State.RUNNING,), State.PAUSED, "reconciler", "as above, with a pause asked for"
    ),
    Move(
        "cancel",
        (State.QUEUED, State.PAUSED),
        State.CANCELLED,
        "client",
        "a job that waits ends at once",
    ),
    Move("cancel", (State.RUNNING,), State.RUNNING, "client", "a running job is asked to stop"),
    Move("pause", (State.QUEUED,), State.PAUSED, "client", "a waiting job is held at once"),
    Move("pause", (State.RUNNING,), State.RUNNING, "client", "a running job is asked to pause"),
    Move("resume", (State.PAUSED,), State.QUEUED, "client", "goes on from its checkpoint"),
    Move("resume", (State.RUNNING,), State.RUNNING, "client", "takes the request to pause back"),
    Move(
        "retry", (State.FAILED, State.CANCELLED), State.QUEUED, "client", "runs it again; crashes 0"
    ),
)
