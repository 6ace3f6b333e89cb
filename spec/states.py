"""The states of a job and the moves between them, as data.

The store carries the moves out, `docs/states.md` explains them, and a test compares all three.
"""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
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
        "renew", (State.RUNNING,), State.RUNNING, "worker", "keeps the lease and hears of a cancel"
    ),
    Move("succeed", (State.RUNNING,), State.SUCCEEDED, "worker", "ends the job with its result"),
    Move("fail", (State.RUNNING,), State.FAILED, "worker", "ends the job with a reason"),
    Move("hand_back", (State.RUNNING,), State.QUEUED, "worker", "cannot go on; not a crash"),
    Move(
        "hand_back",
        (State.RUNNING,),
        State.CANCELLED,
        "worker",
        "as above, with a cancel asked for",
    ),
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
    Move("cancel", (State.QUEUED,), State.CANCELLED, "client", "a waiting job ends at once"),
    Move("cancel", (State.RUNNING,), State.RUNNING, "client", "a running job is asked to stop"),
    Move(
        "retry", (State.FAILED, State.CANCELLED), State.QUEUED, "client", "runs it again; crashes 0"
    ),
)
