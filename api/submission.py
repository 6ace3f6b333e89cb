"""Jobs on their way into the queue: what the payload alone cannot tell is checked here."""

from collections.abc import Sequence

from api import bounds, origin
from api.problems import RefusedError
from spec.access import Caller
from spec.jobs import RangeTestSpec, TrainingSpec
from store import jobs, owners
from store.database import ReadTx, WriteTx
from store.jobs import Job, Submission


def admit(tx: ReadTx, *, by: Caller) -> None:
    """Raises RefusedError where the caller's owner has reached a limit."""
    try:
        owners.check(tx, by.owner)
    except owners.OverLimitError as error:
        raise RefusedError(str(error)) from error


def queue(
    tx: WriteTx,
    spec: RangeTestSpec | TrainingSpec,
    *,
    by: Caller,
    components: Sequence[str] = (),
) -> Job:
    """Queues a job whose components have been checked; some of them not every worker offers.

    Raises:
        InvalidError: another job that it builds on is not there, or not of use.
    """
    return jobs.add(tx, found(tx, spec, by=by, components=components), by=by)


def queue_many(
    tx: WriteTx,
    specs: Sequence[tuple[RangeTestSpec | TrainingSpec, Sequence[str]]],
    *,
    by: Caller,
    sweep: str,
    held: bool,
) -> list[Job]:
    """Queues the jobs of a sweep, in this order, each with the components that some offer.

    Raises:
        InvalidError: as `queue`.
    """
    new = [found(tx, spec, by=by, components=components) for spec, components in specs]
    return jobs.add_many(tx, new, by=by, sweep=sweep, held=held)


def found(
    tx: ReadTx,
    spec: RangeTestSpec | TrainingSpec,
    *,
    by: Caller,
    components: Sequence[str] = (),
) -> Submission:
    """The job with what it takes from others of its owner."""
    if not isinstance(spec, TrainingSpec):
        return Submission(spec, components=components)
    numbers = bounds.taken(tx, spec.schedule, owner=by.owner)
    begun = origin.found(tx, spec, spec.origin, owner=by.owner) if spec.origin else None
    return Submission(spec, numbers, spec.warnings(), begun, components)
