"""What an attempt at a job tells those who watch: of its records whose they are, spans, tallies."""

from collections.abc import Iterator
from contextlib import contextmanager

from spec.states import Reason
from store.jobs import Job
from store.leases import Lease
from telemetry import context, traces
from telemetry.traces import Attributes, Span
from worker.tallies import Tallies


class Watched:
    """One attempt, from its claim on; its span is a child of the request that submitted the job."""

    def __init__(self, job: Job, lease: Lease, tallies: Tallies) -> None:
        self._job = job
        self._lease = lease
        self._tallies = tallies
        tallies.claimed(again=lease.attempt > 1)
        self._span = traces.begin(
            "job.attempt",
            parent=job.traceparent,
            kind="CONSUMER",
            attributes={
                "job": job.id,
                "attempt": lease.attempt,
                "worker": lease.worker,
                "kind": job.kind,
                "queue": job.queue,
            },
        )

    @contextmanager
    def about(self) -> Iterator[None]:
        """Within the block, records and spans are those of this attempt."""
        with of(self._job), traces.within(self._span):
            yield

    @contextmanager
    def doing(self, name: str, attributes: Attributes | None = None) -> Iterator[Span]:
        """Something that takes time, as a span."""
        with self.about(), traces.span(name, attributes=attributes or {}) as span:
            yield span

    def checkpointed(self, size: int) -> None:
        """A file of so many bytes has been written."""
        self._tallies.add(checkpoints=1, checkpoint_bytes=size)

    def checkpoint_failed(self) -> None:
        """It could not be."""
        self._tallies.add(checkpoint_failures=1)

    def ended(self, outcome: str, reason: Reason | None = None) -> None:
        """The attempt is over; one whose lease is lost is counted by who takes the job away."""
        if outcome != "lost":
            self._tallies.ended(outcome, reason)
        self._span.note({"outcome": outcome, "reason": reason})
        if outcome in {"failed", "lost"}:
            self._span.fail(reason or outcome)
        self._span.end()


@contextmanager
def of(job: Job) -> Iterator[None]:
    """Within the block, records are about this job, and the request that submitted it."""
    with context.about(job=job.id, attempt=job.attempt, owner=job.owner, request_id=job.request):
        yield
