"""A job on its way into the queue: what the payload alone cannot tell is checked here."""

from api import bounds, origin
from spec.access import Caller
from spec.jobs import RangeTestSpec, TrainingSpec
from store import jobs
from store.database import WriteTx
from store.jobs import Job


def queue(tx: WriteTx, spec: RangeTestSpec | TrainingSpec, *, by: Caller) -> Job:
    """Queues a job whose components have been checked.

    Raises:
        InvalidError: another job that it builds on is not there, or not of use.
    """
    if not isinstance(spec, TrainingSpec):
        return jobs.add(tx, spec, by=by)
    numbers = bounds.taken(tx, spec.schedule, owner=by.owner)
    begun = origin.found(tx, spec, spec.origin, owner=by.owner) if spec.origin else None
    return jobs.add(tx, spec, by=by, bounds=numbers, warnings=spec.warnings(), origin=begun)
