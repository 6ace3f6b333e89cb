"""Why a job that is queued has not been given to a worker."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Row, bindparam, func, select

from spec.needs import NO_MORE, missing
from spec.states import State
from store import lanes, workers
from store.database import ReadTx
from store.instants import now
from store.jobs import Job
from store.tables import jobs, owners
from store.workers import Worker

Why = Literal["held", "retry", "no_worker", "owner_limit", "busy", "soon"]

COUNTED = 1000
"""Jobs ahead that are counted; more are as many."""


@dataclass(frozen=True)
class Lack:
    """What so many workers of a job's queue lack for it."""

    lacks: tuple[str, ...]
    workers: int


@dataclass(frozen=True)
class Waiting:
    """What a queued job waits for.

    Attributes:
        detail: the same in words.
        until: when it is tried again after a failure.
        ahead: how many of its owner's jobs with the same needs come before it, `COUNTED` at most;
            None where it is not in line.
        fitting: live workers that could run it.
        lacking: what the other live workers of its queue lack, the most frequent first.
    """

    why: Why
    detail: str
    until: datetime | None = None
    ahead: int | None = None
    fitting: int = 0
    lacking: tuple[Lack, ...] = ()


_ROW = select(
    jobs.c.held,
    jobs.c.run_after,
    (jobs.c.run_after > now()).label("resting"),
    lanes.lane_of.label("lane"),
).where(jobs.c.id == bindparam("job_id"))


def waiting(tx: ReadTx, job: Job, *, lost_after: timedelta) -> Waiting | None:
    """Why a job is not running yet; None unless it is queued."""
    if job.state != State.QUEUED:
        return None
    row = tx.execute(_ROW, {"job_id": job.id}).one_or_none()
    if row is None:  # deleted meanwhile
        return None
    if row.held:
        return Waiting("held", "its sweep has as many jobs under way as it may")
    if row.resting:
        at = row.run_after
        return Waiting(
            "retry", f"after what happened it is left alone until {at:%H:%M:%S} UTC", until=at
        )
    serving = [
        each
        for each in workers.find(tx, lost_after=lost_after)
        if each.state != "lost" and job.queue in each.queues
    ]
    fitting = [each for each in serving if each.can_take(job.queue, job.needs)]
    if not fitting:
        return _unfit(job, serving)
    return _in_line(tx, job, row, fitting)


def _unfit(job: Job, serving: Sequence[Worker]) -> Waiting:
    lacks = Counter(tuple(missing(job.needs, each.offer or NO_MORE)) for each in serving)
    lacking = tuple(Lack(what, count) for what, count in lacks.most_common())
    if not lacking:
        detail = f"no live worker serves queue '{job.queue}': start one with it in its --queues"
    else:
        told = "; ".join(
            f"{each.workers} {'lacks' if each.workers == 1 else 'lack'} {' and '.join(each.lacks)}"
            for each in lacking
        )
        detail = f"no live worker of queue '{job.queue}' offers what it needs: {told}"
    return Waiting("no_worker", detail, lacking=lacking)


def _in_line(tx: ReadTx, job: Job, row: Row[Any], fitting: Sequence[Worker]) -> Waiting:
    ahead = _ahead(tx, job, row.lane)
    first = "it is the next of its owner's" if not ahead else f"{_many(ahead)} ahead of it"
    most = tx.execute(
        select(owners.c.max_running).where(owners.c.owner == job.owner)
    ).scalar_one_or_none()
    if most is not None and lanes.running_of(tx, job.owner) >= most:
        detail = f"its owner may have {most} jobs running, and has; {first}"
        return Waiting("owner_limit", detail, ahead=ahead, fitting=len(fitting))
    states = Counter(each.state for each in fitting)
    if states["idle"]:
        detail = f"{states['idle']} of {len(fitting)} workers that can run it are idle; {first}"
        return Waiting("soon", detail, ahead=ahead, fitting=len(fitting))
    told = ", ".join(f"{count} {state}" for state, count in states.most_common())
    held = [each.quarantine.until for each in fitting if each.quarantine]
    if len(held) == len(fitting):
        told += f" until {min(held):%H:%M:%S} UTC"
    detail = f"workers that can run it: {told}; {first}"
    return Waiting("busy", detail, ahead=ahead, fitting=len(fitting))


def _ahead(tx: ReadTx, job: Job, lane: str) -> int:
    before = (jobs.c.priority > job.priority) | (
        (jobs.c.priority == job.priority) & (jobs.c.id < job.id)
    )
    line = select(jobs.c.id).where(lanes.lane_of == lane, *lanes.READY, before).limit(COUNTED)
    return tx.execute(select(func.count()).select_from(line.subquery())).scalar_one()


def _many(ahead: int) -> str:
    more = "or more " if ahead == COUNTED else ""
    return f"{ahead:,} {more}of its owner's {'is' if ahead == 1 else 'are'}"
