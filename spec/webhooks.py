"""What webhooks are told of, and how often one that does not answer is tried again."""

from datetime import timedelta
from enum import StrEnum

from spec.states import State


class Event(StrEnum):
    """The type of a message."""

    JOB_STARTED = "job.started"
    JOB_PAUSED = "job.paused"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    SWEEP_STARTED = "sweep.started"
    SWEEP_PAUSED = "sweep.paused"
    SWEEP_SUCCEEDED = "sweep.succeeded"
    SWEEP_FAILED = "sweep.failed"
    SWEEP_CANCELLED = "sweep.cancelled"


PING = "ping"
"""The type of a message that was only asked for to see whether it arrives."""

OF_JOBS = {
    State.RUNNING: Event.JOB_STARTED,
    State.PAUSED: Event.JOB_PAUSED,
    State.SUCCEEDED: Event.JOB_SUCCEEDED,
    State.FAILED: Event.JOB_FAILED,
    State.CANCELLED: Event.JOB_CANCELLED,
}
OF_SWEEPS = {
    State.RUNNING: Event.SWEEP_STARTED,
    State.PAUSED: Event.SWEEP_PAUSED,
    State.SUCCEEDED: Event.SWEEP_SUCCEEDED,
    State.FAILED: Event.SWEEP_FAILED,
    State.CANCELLED: Event.SWEEP_CANCELLED,
}
"""By the state that was entered."""

DELAYS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
)
"""Before each new try, as Standard Webhooks recommends: a day and a few hours in all."""

JITTER = 0.1
"""The share by which a delay is longer at most, so that what failed together comes apart."""


def delay_after(tries: int, chance: float) -> timedelta | None:
    """How long to wait after so many tries, none of which went well; None: it has failed.

    `chance` is from [0, 1).
    """
    if tries > len(DELAYS):
        return None
    return DELAYS[tries - 1] * (1 + JITTER * chance)


class DeliveryState(StrEnum):
    """Where a message to one webhook stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
