"""Sweeps as rows: what each promised, its trials, and how far they are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from pydantic import JsonValue
from sqlalchemy import BigInteger, Row, case, func, insert, select, type_coerce, update
from uuid6 import uuid7

from spec.access import Caller
from spec.jobs import RangeTestSpec, TrainingSpec
from spec.states import State
from spec.sweeps import SweepSpec
from store.database import ReadTx, WriteTx
from store.instants import now
from store.jobs import COLUMNS as JOB_COLUMNS
from store.jobs import Job, from_row
from store.tables import jobs, sweeps, trials

SPEC_VERSION = 1
"""Stored beside each spec, so that an old one can be read by newer code."""


class SweepNotFoundError(Exception):
    """There is no such sweep."""


@dataclass(frozen=True)
class Sweep:
    """One row of `sweeps`."""

    id: str
    owner: str
    name: str | None
    state: State
    spec: dict[str, JsonValue]
    promised: int
    parallel: int | None
    ending: str | None
    cancel_requested: bool
    version: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


COLUMNS = tuple(sweeps.c[field.name] for field in fields(Sweep))


def spec_of(sweep: Sweep) -> SweepSpec:
    """The sweep's spec, validated again by this version of the code.

    Raises:
        pydantic.ValidationError: it was stored by another version.
    """
    return SweepSpec.model_validate(sweep.spec)


@dataclass(frozen=True)
class Trial:
    """A configuration of a sweep and the job that runs it, which may have been deleted."""

    number: int
    parameters: dict[str, JsonValue]
    memory: dict[str, JsonValue]
    job: Job | None


@dataclass(frozen=True)
class NewTrial:
    """A configuration that has just been chosen; `iterations` where its spec says how many."""

    job_id: str
    parameters: dict[str, JsonValue]
    memory: dict[str, JsonValue]
    iterations: int | None
    digest: str


def add(
    tx: WriteTx,
    spec: Mapping[str, JsonValue],
    *,
    by: Caller,
    name: str | None,
    promised: int,
    parallel: int | None,
    one_for_one: bool,
    ending: str | None,
) -> Sweep:
    """A new sweep, without trials yet."""
    row = tx.execute(
        insert(sweeps)
        .values(
            id=f"swp_{uuid7().hex}",
            owner=by.owner,
            name=name,
            state=State.QUEUED,
            spec=dict(spec),
            spec_version=SPEC_VERSION,
            promised=promised,
            parallel=parallel,
            one_for_one=one_for_one,
            ending=ending,
            created_at=now(),
        )
        .returning(*COLUMNS)
    ).one()
    return _from_row(row)


def get(tx: ReadTx, sweep_id: str, *, owner: str | None = None) -> Sweep:
    """The sweep of that id; where an owner is named, only one of theirs.

    Raises:
        SweepNotFoundError: there is none.
    """
    row = tx.execute(select(*COLUMNS).where(sweeps.c.id == sweep_id)).one_or_none()
    if row is None or owner not in {None, row.owner}:
        raise SweepNotFoundError(sweep_id)
    return _from_row(row)


def lock(tx: WriteTx, sweep_id: str) -> Sweep | None:
    """The sweep, which nobody else changes until this transaction ends; None if there is none.

    Whoever adds trials or lets jobs go holds this lock, so that counts do not overshoot.
    """
    query = select(*COLUMNS).where(sweeps.c.id == sweep_id).with_for_update()
    row = tx.execute(query).one_or_none()
    return None if row is None else _from_row(row)


def find(tx: ReadTx, *, owner: str, before: str | None, limit: int) -> list[Sweep]:
    """An owner's sweeps, the newest first; those older than the id `before` only."""
    query = select(*COLUMNS).where(sweeps.c.owner == owner)
    if before is not None:
        query = query.where(sweeps.c.id < before)
    return [_from_row(row) for row in tx.execute(query.order_by(sweeps.c.id.desc()).limit(limit))]


def open_ids(tx: ReadTx) -> list[str]:
    """Every sweep that has not ended, the oldest first."""
    query = select(sweeps.c.id).where(sweeps.c.finished_at.is_(None)).order_by(sweeps.c.id)
    return list(tx.execute(query).scalars())


def counts(tx: ReadTx, ids: Sequence[str]) -> dict[str, dict[State, int]]:
    """How many jobs of each sweep are in each state that any is in."""
    found: dict[str, dict[State, int]] = {each: {} for each in ids}
    query = select(jobs.c.sweep, jobs.c.state, func.count()).where(jobs.c.sweep.in_(ids))
    for sweep_id, state, count in tx.execute(query.group_by(jobs.c.sweep, jobs.c.state)):
        found[sweep_id][State(state)] = count
    return found


def trials_of(
    tx: ReadTx, sweep_id: str, *, start: int = 0, limit: int | None = None
) -> list[Trial]:
    """The trials of a sweep in the order in which they were chosen, from number `start` on."""
    query = (
        select(trials.c.number, trials.c.parameters, trials.c.memory, *JOB_COLUMNS)
        .select_from(trials.outerjoin(jobs, jobs.c.id == trials.c.job_id))
        .where(trials.c.sweep_id == sweep_id, trials.c.number >= start)
        .order_by(trials.c.number)
        .limit(limit)
    )
    return [
        Trial(
            number=row.number,
            parameters=row.parameters,
            memory=row.memory,
            job=None if row.id is None else from_row(row[3:]),
        )
        for row in tx.execute(query)
    ]


def add_trials(
    tx: WriteTx,
    sweep_id: str,
    chosen: Iterable[NewTrial],
    *,
    first: int,
) -> None:
    """Remembers which job runs which configuration; the first gets the number `first`."""
    rows = [
        {"sweep_id": sweep_id, "number": number, **asdict(each)}
        for number, each in enumerate(chosen, first)
    ]
    if rows:
        tx.execute(insert(trials), rows)


def change(tx: WriteTx, sweep: Sweep, **values: object) -> Sweep:
    """Gives columns of a locked sweep other values."""
    row = tx.execute(
        update(sweeps)
        .where(sweeps.c.id == sweep.id)
        .values(version=sweeps.c.version + 1, **values)
        .returning(*COLUMNS)
    ).one()
    return _from_row(row)


@dataclass(frozen=True)
class Best:
    """The job of a sweep that is ahead."""

    job_id: str
    parameters: dict[str, JsonValue]
    value: float


def best(tx: ReadTx, sweep_id: str, metric: Sequence[str], *, largest: bool) -> Best | None:
    """The job whose result has the best number at a path; the first chosen of several.

    Short runs, which look for where to look, do not count.
    """
    value = jobs.c.result[tuple(metric)].as_float()
    stage = trials.c.memory["stage"].as_string()
    row = tx.execute(
        select(trials.c.job_id, trials.c.parameters, value.label("value"))
        .select_from(jobs.join(trials, trials.c.job_id == jobs.c.id))
        .where(
            jobs.c.sweep == sweep_id,
            jobs.c.state == State.SUCCEEDED,
            value.is_not(None),
            stage.is_distinct_from("coarse"),
        )
        .order_by(value.desc() if largest else value, trials.c.number)
        .limit(1)
    ).one_or_none()
    return None if row is None else Best(row.job_id, row.parameters, row.value)


LIKE = 20
"""Finished jobs that a speed is taken from."""


def pace(tx: ReadTx, owner: str, spec: RangeTestSpec | TrainingSpec) -> float | None:
    """Seconds of an iteration, the median of the owner's latest jobs that compute the same.

    The same model, data, batch size and kind of optimizer; None where there is no such job. One
    that was trained with others took its share of their time.
    """
    same = [
        jobs.c.spec["model"]["name"].as_string() == spec.model.name,
        jobs.c.spec["data"]["name"].as_string() == spec.data.name,
        jobs.c.spec["batch_size"].as_integer() == spec.batch_size,
        jobs.c.spec["optimizer"]["name"].as_string() == spec.optimizer.name,
    ]
    recent = (
        select(jobs.c.id)
        .where(jobs.c.owner == owner, jobs.c.state == State.SUCCEEDED)
        .order_by(jobs.c.id.desc())
        .limit(LIKE * LIKE)
    )
    seconds, count = (jobs.c.result[name].as_float() for name in ("seconds", "iterations"))
    size = func.coalesce(jobs.c.resolved["population"].as_float(), 1)
    # a range test has as many iterations as its repeats have together
    together = case((jobs.c.kind == "training", size), else_=1)
    rows = tx.execute(
        select(seconds / count / together)
        .where(jobs.c.id.in_(recent), *same, seconds > 0, count > 0)
        .order_by(jobs.c.id.desc())
        .limit(LIKE)
    )
    found = list(rows.scalars())
    return median(found) if found else None


def age(tx: ReadTx, sweep_id: str) -> timedelta:
    """How long ago the first job of a sweep began; nothing where none has."""
    began = type_coerce(sweeps.c.started_at, BigInteger)
    passed = select(type_coerce(now(), BigInteger) - began).where(sweeps.c.id == sweep_id)
    return timedelta(microseconds=int(tx.execute(passed).scalar_one() or 0))


def _from_row(row: Row[Any]) -> Sweep:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    return Sweep(**{**values, "state": State(values["state"])})
