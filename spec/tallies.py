"""What workers count, by name: they have no port, and say it in SQL (`store.tallies`)."""

from spec.states import Reason

ENDS = ("succeeded", "failed", "cancelled", "handed_back", "lost")
"""How attempts end; one that a client pauses is handed back."""

CLAIMS = {"no": "claims.first", "yes": "claims.again"}
"""Whether the job had been claimed before -> the tally."""

ITERATIONS = "iterations"
POINTS = "points"
SERIES_BYTES = "series_bytes"
CHECKPOINTS = "checkpoints"
CHECKPOINT_BYTES = "checkpoint_bytes"
CHECKPOINT_FAILURES = "checkpoint_failures"


def end(outcome: str, reason: Reason | None = None) -> str:
    """The tally of attempts that ended so."""
    return f"ended.{outcome}.{reason or ''}"


ENDED = {(outcome, None): end(outcome) for outcome in ENDS if outcome != "failed"} | {
    ("failed", reason): end("failed", reason) for reason in Reason if reason != Reason.WORKER_LOST
}
"""Outcome and reason -> the tally; `worker_lost` is the end of a job, whose attempts were lost."""
