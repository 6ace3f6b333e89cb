"""Finds jobs, the newest first, at a cost that does not grow with the table."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, select, union_all

from spec.states import State
from store.database import ReadTx
from store.jobs import COLUMNS, Job, from_row
from store.tables import job_tags, jobs


def find(
    tx: ReadTx,
    *,
    owner: str | None = None,
    sweep: str | None = None,
    states: Sequence[State] = (),
    kind: str | None = None,
    name: str | None = None,
    named_like: str | None = None,
    tags: Sequence[tuple[str, str]] = (),
    before: str | None = None,
    limit: int,
) -> list[Job]:
    """Jobs newest first, of one owner or of all; those older than the id `before` only.

    Those whose name has `named_like` in it, in letters of either case, are looked for one by one
    from the newest on: where few have, that reads the whole table.
    """
    query: Select[Any] = select(*COLUMNS)
    if owner is not None:
        query = query.where(jobs.c.owner == owner)
    if sweep is not None:
        query = query.where(jobs.c.sweep == sweep)
    if kind is not None:
        query = query.where(jobs.c.kind == kind)
    if name is not None:
        query = query.where(jobs.c.name == name)
    if named_like is not None:
        query = query.where(jobs.c.name.icontains(named_like, autoescape=True))
    for key, value in tags:
        tagged = select(job_tags.c.job_id).where(job_tags.c.key == key, job_tags.c.value == value)
        query = query.where(jobs.c.id.in_(tagged))
    if before is not None:
        query = query.where(jobs.c.id < before)
    return [from_row(row) for row in tx.execute(newest(query, states, limit=limit))]


def newest(query: Select[Any], states: Sequence[State], *, limit: int) -> Select[Any]:
    """The newest `limit` of what a query of jobs finds, newest first; of these states, or of any.

    With several states the newest of each are looked up by its index: asked for all at once, a
    database sorts every job in these states, or reads the table until it has found enough.
    """
    order = jobs.c.id.desc()
    if len(states) > 1:
        ids = query.with_only_columns(jobs.c.id).order_by(order).limit(limit)
        each = (ids.where(jobs.c.state == state).subquery() for state in states)
        query = query.where(jobs.c.id.in_(union_all(*map(select, each))))
    elif states:
        query = query.where(jobs.c.state == states[0])
    return query.order_by(order).limit(limit)
