"""Owners: their share of the workers, their limits, and how much they use."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Select,
    case,
    cast,
    delete,
    func,
    literal,
    select,
    type_coerce,
    union_all,
)

from spec.states import FINISHED, State
from store.database import ReadTx, WriteTx
from store.instants import Instant, now
from store.tables import checkpoints, jobs, owners, usage
from store.upserts import upsert


class OverLimitError(Exception):
    """The owner has too much already to be given more."""


@dataclass(frozen=True)
class Rule:
    """What an owner may have; a limit that is None is none.

    Attributes:
        share: of the workers, against the shares of the others: 2 gets twice as many as 1.
        max_running: jobs that run at once; more wait.
        max_points: iterations recorded, beyond which no job is taken in.
        max_checkpoint_bytes: of all checkpoints, beyond which no job is taken in.
    """

    share: float = 1.0
    max_running: int | None = None
    max_points: int | None = None
    max_checkpoint_bytes: int | None = None


@dataclass(frozen=True)
class Standing:
    """An owner with what it has.

    Attributes:
        counted_at: when points and bytes were counted; None before the first time.
    """

    owner: str
    rule: Rule
    waiting: int
    running: int
    points: int
    checkpoint_bytes: int
    counted_at: datetime | None


def put(tx: WriteTx, owner: str, rule: Rule) -> None:
    """Sets an owner's rule; one of defaults is none."""
    if rule == Rule():
        tx.execute(delete(owners).where(owners.c.owner == owner))
    else:  # in place: a claim that waits for the row of a limit must find it there
        upsert(tx, owners, [{"owner": owner, "changed_at": now(), **asdict(rule)}])


def standing(tx: ReadTx, owner: str) -> Standing:
    """How an owner stands, whether or not it has ever had a job."""
    name = select(literal(owner).label("owner")).subquery()
    (found,) = _standings(tx, name)
    return found


def standings(tx: ReadTx) -> list[Standing]:
    """Every owner with a job or a rule, by name."""
    named = union_all(select(jobs.c.owner).distinct(), select(owners.c.owner))
    return _standings(tx, select(named.subquery().c.owner).distinct().subquery())


def check(tx: ReadTx, owner: str) -> None:
    """Raises OverLimitError where an owner may submit nothing more.

    It goes by what was counted last: an owner may pass a limit within that time, and jobs that
    were taken in run to their ends.
    """
    query = (
        select(
            owners,
            func.coalesce(usage.c.points, 0).label("points"),
            func.coalesce(usage.c.checkpoint_bytes, 0).label("checkpoint_bytes"),
        )
        .outerjoin(usage, usage.c.owner == owners.c.owner)
        .where(owners.c.owner == owner)
    )
    if (row := tx.execute(query).one_or_none()) is None:
        return
    for most, has, what in (
        (row.max_points, row.points, "recorded iterations"),
        (row.max_checkpoint_bytes, row.checkpoint_bytes, "bytes of checkpoints"),
    ):
        if most is not None and has >= most:
            raise OverLimitError(
                f"{owner} has {has:,} {what}, and may have {most:,}: delete jobs, or let a rule"
                " of retention do it"
            )


def count(tx: ReadTx) -> list[dict[str, Any]]:
    """Counts anew what every owner has; nobody who writes waits for it."""
    # one that began where another was has recorded no more than it went on
    recorded = jobs.c.iteration - func.coalesce(jobs.c.parent_iteration, 0)
    points = (
        select(
            jobs.c.owner,
            func.sum(case((recorded > 0, recorded), else_=0)).label("points"),
        )
        .where(jobs.c.series_deleted_at.is_(None))
        .group_by(jobs.c.owner)
        .subquery()
    )
    sizes = (
        select(jobs.c.owner, func.sum(checkpoints.c.bytes).label("bytes"))
        .join_from(checkpoints, jobs, jobs.c.id == checkpoints.c.job_id)
        .group_by(jobs.c.owner)
        .subquery()
    )
    everyone = select(jobs.c.owner).distinct().subquery()
    counted = (
        select(
            everyone.c.owner,
            # PostgreSQL's sum of bigints is a numeric
            cast(func.coalesce(points.c.points, 0), BigInteger).label("points"),
            cast(func.coalesce(sizes.c.bytes, 0), BigInteger).label("checkpoint_bytes"),
        )
        .outerjoin(points, points.c.owner == everyone.c.owner)
        .outerjoin(sizes, sizes.c.owner == everyone.c.owner)
    )
    at = tx.execute(select(type_coerce(now(), Instant))).scalar_one()
    return [{**row._mapping, "counted_at": at} for row in tx.execute(counted)]  # noqa: SLF001 - SQLAlchemy's public name for it


def remember(tx: WriteTx, rows: Sequence[dict[str, Any]]) -> None:
    """Keeps what has been counted; who was not has nothing any more."""
    tx.execute(delete(usage).where(usage.c.owner.not_in([row["owner"] for row in rows])))
    if rows:
        upsert(tx, usage, rows)


def _standings(tx: ReadTx, names: Any) -> list[Standing]:
    waits = jobs.c.state.not_in([State.RUNNING, *FINISHED])
    query: Select[Any] = (
        select(
            names.c.owner,
            owners.c.share,
            owners.c.max_running,
            owners.c.max_points,
            owners.c.max_checkpoint_bytes,
            _how_many(names, waits).label("waiting"),
            _how_many(names, jobs.c.state == State.RUNNING).label("running"),
            usage.c.points,
            usage.c.checkpoint_bytes,
            usage.c.counted_at,
        )
        .outerjoin(owners, owners.c.owner == names.c.owner)
        .outerjoin(usage, usage.c.owner == names.c.owner)
        .order_by(names.c.owner)
    )
    return [
        Standing(
            owner=row.owner,
            rule=Rule()
            if row.share is None
            else Rule(row.share, row.max_running, row.max_points, row.max_checkpoint_bytes),
            waiting=row.waiting,
            running=row.running,
            points=row.points or 0,
            checkpoint_bytes=row.checkpoint_bytes or 0,
            counted_at=row.counted_at,
        )
        for row in tx.execute(query)
    ]


def _how_many(names: Any, what: Any) -> Any:
    return (
        select(func.count())
        .select_from(jobs)
        .where(jobs.c.owner == names.c.owner, what)
        .scalar_subquery()
    )
