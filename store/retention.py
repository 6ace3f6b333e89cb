"""Rules of retention: what is deleted of jobs that ended so and so long ago."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, delete, exists, insert, select, update
from uuid6 import uuid7

from spec.states import FINISHED, State
from store import checkpoints, recorded
from store.database import ReadTx, WriteTx
from store.history import NOTED, RECONCILER, note
from store.instants import from_now, now
from store.messages import FORGET
from store.tables import checkpoints as checkpoint_table
from store.tables import job_tags, jobs, sweeps
from store.tables import retention as rules

What = Literal["series", "checkpoints"]


class RuleNotFoundError(Exception):
    """There is no such rule."""


@dataclass(frozen=True)
class Rule:
    """Deletes series or checkpoints of an owner's finished jobs, `after_days` after their end.

    Attributes:
        tag: of jobs with this tag only.
        value: and only where it has this value.
    """

    id: str
    owner: str
    what: What
    after_days: int
    tag: str | None
    value: str | None
    created_at: datetime


COLUMNS = tuple(rules.c[name] for name in Rule.__annotations__)


def add(
    tx: WriteTx,
    owner: str,
    *,
    what: What,
    after_days: int,
    tag: str | None = None,
    value: str | None = None,
) -> Rule:
    """A new rule."""
    row = tx.execute(
        insert(rules)
        .values(
            id=f"ret_{uuid7().hex}",
            owner=owner,
            what=what,
            after_days=after_days,
            tag=tag,
            value=value,
            created_at=now(),
        )
        .returning(*COLUMNS)
    ).one()
    return Rule(*row)


def find(tx: ReadTx, owner: str | None = None) -> list[Rule]:
    """An owner's rules, or everybody's, the oldest first."""
    query = select(*COLUMNS).order_by(rules.c.id)
    if owner is not None:
        query = query.where(rules.c.owner == owner)
    return [Rule(*row) for row in tx.execute(query)]


def remove(tx: WriteTx, rule_id: str, *, owner: str) -> None:
    """Deletes a rule.

    Raises:
        RuleNotFoundError: the owner has none of that id.
    """
    gone = tx.execute(delete(rules).where(rules.c.id == rule_id, rules.c.owner == owner))
    if gone.rowcount == 0:
        raise RuleNotFoundError(rule_id)


def due(tx: ReadTx, rule: Rule, *, limit: int) -> list[str]:
    """Jobs that have something for the rule to delete, those that ended first before others."""
    has = (
        jobs.c.series_deleted_at.is_(None)
        if rule.what == "series"
        else exists().where(checkpoint_table.c.job_id == jobs.c.id)
    )
    query = (
        select(jobs.c.id)
        .where(jobs.c.owner == rule.owner, _old_enough(rule), has, ~_needed())
        .order_by(jobs.c.finished_at)
        .limit(limit)
    )
    if rule.tag is not None:
        tagged = (job_tags.c.job_id == jobs.c.id) & (job_tags.c.key == rule.tag)
        if rule.value is not None:
            tagged &= job_tags.c.value == rule.value
        query = query.where(exists().where(tagged))
    return list(tx.execute(query).scalars())


def apply(tx: WriteTx, rule: Rule, job_id: str) -> list[str]:
    """Deletes what the rule is about of one job, unless the job has moved on.

    Returns:
        Files of checkpoints that nothing points to any more.

    A job that failed or was cancelled loses its checkpoints with its series: going on from one,
    it would have a curve that begins in the middle. It can still be retried, from the start.
    """
    checkpoints.lock(tx, job_id)  # those who are about to go on from one speak up
    state = tx.execute(
        select(jobs.c.state)
        .where(jobs.c.id == job_id, _old_enough(rule), ~_needed())
        .with_for_update()
    ).scalar_one_or_none()
    if state is None:
        return []
    files: list[str] = []
    changes: dict[str, object] = {"version": jobs.c.version + 1}
    if rule.what == "series":
        recorded.forget(tx, job_id, after=0)
        changes["series_deleted_at"] = now()
    if rule.what == "checkpoints" or state != State.SUCCEEDED:
        files = checkpoints.forget(tx, job_id, after=0)
        changes["checkpoint"] = None
    changed = tx.execute(update(jobs).where(jobs.c.id == job_id).values(changes).returning(*NOTED))
    note(
        tx,
        changed.all(),
        verb=FORGET,
        actor=RECONCILER,
        detail=f"{rule.what}, by the rule {rule.id}: {rule.after_days} days after its end",
    )
    return files


def _old_enough(rule: Rule) -> ColumnElement[bool]:
    ended = jobs.c.finished_at < from_now(-timedelta(days=rule.after_days))
    return jobs.c.finished_at.is_not(None) & ended


def _needed() -> ColumnElement[bool]:
    """Whether a job is still to begin with a checkpoint of this one, or a sweep may choose one."""
    child = jobs.alias("child")
    going = exists().where(sweeps.c.id == child.c.sweep, sweeps.c.finished_at.is_(None))
    return exists().where(child.c.parent == jobs.c.id, child.c.state.not_in(FINISHED) | going)
