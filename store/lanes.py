"""Whose turn it is: the lanes that a worker can serve, the one with the best claim first.

A lane is a line of jobs of one owner, in one queue, with the same needs. However many jobs wait,
choosing among lanes costs two probes of an index for each of them.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, func, literal_column, select, text

from spec import needs
from spec.needs import Offer
from store.database import ReadTx, WriteTx
from store.instants import now
from store.tables import jobs, owners
from store.tables.jobs import LANE, WAITING


@dataclass(frozen=True)
class Lane:
    """One line of waiting jobs.

    Attributes:
        name: the value of `LANE` of its jobs.
        limited: whether its owner may have only so many jobs running.
    """

    name: str
    owner: str
    limited: bool


lane_of: ColumnElement[str] = literal_column(LANE, Text)
READY = text(WAITING), jobs.c.run_after <= now(), ~jobs.c.cancel_requested


def by_index(tx: ReadTx) -> None:
    """Has PostgreSQL read lanes in the order of their index until the transaction ends.

    Its statistics may be of a time when no job waited: it would rather read and sort all that do.
    """
    if tx.dialect.name == "postgresql":
        tx.exec_driver_sql("SET LOCAL enable_sort = off")


def servable(tx: ReadTx, *, queues: Sequence[str], offer: Offer) -> list[Lane]:
    """The lanes with a job that such a worker can run now, best first.

    Between owners, the one goes first who runs the fewest jobs for their share; among those who run
    as many, each as often as their share says, by lot: with fewer workers than owners all run as
    many. For one owner the highest priority goes first, and then the oldest job. An owner at their
    limit of running jobs waits.
    """
    found = [
        row
        for row in tx.execute(HEADS)
        if row.queue in queues and not needs.missing(row.needs, offer)
    ]
    if not found:
        return []
    names = {row.owner for row in found}
    rules = select(owners.c.owner, owners.c.share, owners.c.max_running)
    known = {row.owner: row for row in tx.execute(rules.where(owners.c.owner.in_(names)))}
    limited = any(row.max_running is not None for row in known.values())
    running = _running(tx, names) if limited or len(names) > 1 else {}
    shares = {name: known[name].share if name in known else 1.0 for name in names}
    # the least of exponential variates is an owner's with the probability of their share
    lots = {name: random.expovariate(shares[name]) for name in names}
    lanes = []
    for row in found:
        rule = known.get(row.owner)
        runs = running.get(row.owner, 0)
        most = rule.max_running if rule else None
        if most is None or runs < most:
            turn = (runs / shares[row.owner], lots[row.owner], -row.priority, row.id)
            lanes.append((turn, Lane(row.lane, row.owner, limited=most is not None)))
    return [lane for _, lane in sorted(lanes, key=lambda each: each[0])]


def room(tx: WriteTx, owner: str) -> int | None:
    """How many more jobs of an owner may run; None for any number.

    Nobody else is told before this transaction ends: two claims cannot both take the last place.
    """
    rule = select(owners.c.max_running).where(owners.c.owner == owner)
    most = tx.execute(rule.with_for_update()).scalar_one_or_none()
    return None if most is None else max(0, most - running_of(tx, owner))


def running_of(tx: ReadTx, owner: str) -> int:
    """How many jobs of an owner run."""
    return _running(tx, [owner]).get(owner, 0)


def _running(tx: ReadTx, names: Collection[str]) -> dict[str, int]:
    query = (
        select(jobs.c.owner, func.count())
        .where(text("jobs.state = 'running'"), jobs.c.owner.in_(names))
        .group_by(jobs.c.owner)
    )
    return {owner: count for owner, count in tx.execute(query)}  # noqa: C416 - hides the types


def _heads() -> Select[Any]:
    """Lane by lane, from the least to the next greater one, the job that is first in it."""
    least = select(lane_of.label("lane")).select_from(jobs).where(text(WAITING))
    least = least.order_by(lane_of).limit(1)
    found = select(least.scalar_subquery().label("lane")).cte("found", recursive=True)
    greater = least.where(lane_of > found.c.lane).scalar_subquery()
    found = found.union_all(select(greater).where(found.c.lane.is_not(None)))
    lane = found.c.lane
    head = (
        select(jobs.c.id)
        .where(lane_of == lane, *READY)
        .order_by(jobs.c.priority.desc(), jobs.c.id)
        .limit(1)
        .scalar_subquery()
    )
    heads = select(lane.label("lane"), head.label("id")).cte("heads")
    first = jobs.alias("first")
    return select(
        heads.c.lane, first.c.id, first.c.owner, first.c.queue, first.c.needs, first.c.priority
    ).join_from(heads, first, first.c.id == heads.c.id)


HEADS = _heads()
