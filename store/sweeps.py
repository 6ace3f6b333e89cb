"""Sweeps as rows: what each promised, its trials, and how far they are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from pydantic import JsonValue, ValidationError
from sqlalchemy import (
    BigInteger,
    Row,
    func,
    insert,
    select,
    type_coerce,
    update,
)
from uuid6 import uuid7

from spec.access import Caller
from spec.recipes import ANY_SWEEP, RecipeSpec
from spec.states import State
from spec.sweeps import Objective, SweepSpec
from store import messages
from store.database import ReadTx, WriteTx
from store.instants import now
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


class UnreadableSpecError(Exception):
    """The spec of a sweep was stored by another version of stepsize, and means nothing to this."""

    def __init__(self, sweep: Sweep, error: ValidationError) -> None:
        first, *others = error.errors(include_url=False, include_input=False)
        place = "/".join(map(str, ("", *first["loc"])))
        more = f", and {len(others)} more" if others else ""
        super().__init__(f"of sweep {sweep.id}: {place}: {first['msg']}{more}")


def spec_of(sweep: Sweep) -> SweepSpec | RecipeSpec:
    """The sweep's spec, validated again by this version of the code.

    Only who leads a sweep on needs it: one that no longer validates must still be found, judged
    and cancelled.

    Raises:
        UnreadableSpecError: it was stored by another version.
    """
    try:
        return ANY_SWEEP.validate_python(sweep.spec)
    except ValidationError as error:
        raise UnreadableSpecError(sweep, error) from error


def objective_of(sweep: Sweep) -> Objective | None:
    """What its jobs are judged by, whatever the rest of its spec; None where even that is none."""
    try:
        return Objective.model_validate(sweep.spec["objective"])
    except (KeyError, ValidationError):
        return None


@dataclass(frozen=True)
class Run:
    """What became of the job of a trial."""

    id: str
    state: State
    iteration: int
    result: dict[str, JsonValue] | None


@dataclass(frozen=True)
class Trial:
    """A configuration of a sweep and the job that runs it, which may have been deleted."""

    number: int
    parameters: dict[str, JsonValue]
    memory: dict[str, JsonValue]
    job: Run | None


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
    # no rows that only refer to it, as trials do and rungs, have to wait
    query = select(*COLUMNS).where(sweeps.c.id == sweep_id).with_for_update(key_share=True)
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
        select(
            trials.c.number,
            trials.c.parameters,
            trials.c.memory,
            jobs.c.id,
            jobs.c.state,
            jobs.c.iteration,
            jobs.c.result,
        )
        .select_from(trials.outerjoin(jobs, jobs.c.id == trials.c.job_id))
        .where(trials.c.sweep_id == sweep_id, trials.c.number >= start)
        .order_by(trials.c.number)
        .limit(limit)
    )
    return [
        Trial(
            number=number,
            parameters=parameters,
            memory=memory,
            job=None if job_id is None else Run(job_id, State(state), iteration, result),
        )
        for number, parameters, memory, job_id, state, iteration, result in tx.execute(query)
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
        {"sweep_id": sweep_id, "number": number, **vars(each)}
        for number, each in enumerate(chosen, first)
    ]
    if rows:
        tx.execute(insert(trials), rows)


def change(tx: WriteTx, sweep: Sweep, **values: object) -> Sweep:
    """Gives columns of a locked sweep other values; webhooks are told of another state."""
    row = tx.execute(
        update(sweeps)
        .where(sweeps.c.id == sweep.id)
        .values(version=sweeps.c.version + 1, **values)
        .returning(*COLUMNS)
    ).one()
    if row.state != sweep.state:
        messages.of_sweep(tx, row)
    return _from_row(row)


def age(tx: ReadTx, sweep_id: str) -> timedelta:
    """How long ago the first job of a sweep began; nothing where none has."""
    began = type_coerce(sweeps.c.started_at, BigInteger)
    passed = select(type_coerce(now(), BigInteger) - began).where(sweeps.c.id == sweep_id)
    return timedelta(microseconds=int(tx.execute(passed).scalar_one() or 0))


def _from_row(row: Row[Any]) -> Sweep:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    return Sweep(**{**values, "state": State(values["state"])})
