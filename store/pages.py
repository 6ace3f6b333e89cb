"""The newest jobs of a query, at a cost that does not grow with the table."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, select, union_all

from spec.states import State
from store.tables import jobs


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
