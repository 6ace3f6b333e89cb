"""What became of the trials of a sweep: only the columns that are shown or judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pydantic import JsonValue
from sqlalchemy import ColumnElement, Select, case, func, select

from spec.states import FINISHED, State
from store.database import ReadTx
from store.tables import jobs, trials

LOOKING = ("coarse", "find")
"""Stages that only look for where to look: what comes of them is not compared with the rest."""


@dataclass(frozen=True)
class Outcome:
    """A trial, and some fields of its job's result.

    Attributes:
        job_id: None where the job has been deleted; then it has no state either.
        found: the fields that were asked for, None where they are not there.
        short: it only looks for where to look, and compares with others of its kind alone.
        stopped: it was ended early, for others did better.
    """

    number: int
    parameters: dict[str, JsonValue]
    job_id: str | None
    state: State | None
    found: tuple[JsonValue, ...]
    short: bool
    stopped: bool


def outcomes(tx: ReadTx, sweep_id: str, *paths: Sequence[str]) -> list[Outcome]:
    """Every trial in the order in which they were chosen, with these fields of the results."""
    fields = [jobs.c.result[tuple(path)].as_json().label(f"f{i}") for i, path in enumerate(paths)]
    query = _trials(
        sweep_id,
        trials.c.number,
        trials.c.parameters,
        jobs.c.id,
        jobs.c.state,
        trials.c.memory["stage"].as_string(),
        jobs.c.result["stopped"].as_string().is_not(None),
        *fields,
    )
    return [
        Outcome(
            number=number,
            parameters=parameters,
            job_id=job_id,
            state=state and State(state),
            found=tuple(found),
            short=stage in LOOKING,
            stopped=bool(stopped),
        )
        for number, parameters, job_id, state, stage, stopped, *found in tx.execute(
            query.order_by(trials.c.number)
        )
    ]


def tag(tx: ReadTx, sweep_id: str, *, start: int = 0, limit: int | None = None) -> str:
    """Another one whenever a trial has been added, has moved or ended, or its job is deleted.

    What a running job has come to does not count: its result comes with its end.
    """
    query = _trials(sweep_id, trials.c.number, jobs.c.id, jobs.c.state, jobs.c.version)
    rows = tx.execute(query.where(trials.c.number >= start).order_by(trials.c.number).limit(limit))
    seen = [
        (number, job_id, state, version if state in FINISHED else None)
        for number, job_id, state, version in rows
    ]
    return sha256(repr(seen).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Best:
    """The job of a sweep that is ahead."""

    job_id: str
    parameters: dict[str, JsonValue]
    value: float


def best(tx: ReadTx, sweep_id: str, metric: Sequence[str], *, largest: bool) -> Best | None:
    """The job whose result has the best number at a path; the first chosen of several.

    Short runs, which look for where to look, do not count; nor do those that were stopped early,
    as long as another has a value: theirs is of an earlier point.
    """
    found = jobs.c.result[tuple(metric)]
    value = case((_is_number(tx, metric), found.as_float()))
    stage = trials.c.memory["stage"].as_string()
    stopped = jobs.c.result["stopped"]["iteration"].as_integer().is_not(None)
    row = tx.execute(
        select(trials.c.job_id, trials.c.parameters, value.label("value"))
        .select_from(jobs.join(trials, trials.c.job_id == jobs.c.id))
        .where(
            jobs.c.sweep == sweep_id,
            jobs.c.state == State.SUCCEEDED,
            value.is_not(None),
            func.coalesce(stage, "").not_in(LOOKING),
        )
        .order_by(stopped, value.desc() if largest else value, trials.c.number)
        .limit(1)
    ).one_or_none()
    return None if row is None else Best(row.job_id, row.parameters, row.value)


def _trials(sweep_id: str, *columns: ColumnElement[Any]) -> Select[Any]:
    return (
        select(*columns)
        .select_from(trials.outerjoin(jobs, jobs.c.id == trials.c.job_id))
        .where(trials.c.sweep_id == sweep_id)
    )


def _is_number(tx: ReadTx, path: Sequence[str]) -> ColumnElement[bool]:
    """Whether there is a number in a job's result: what is none could not be compared as one."""
    if tx.dialect.name == "sqlite":
        return func.json_type(jobs.c.result, ".".join(["$", *path])).in_(["integer", "real"])
    return func.json_typeof(jobs.c.result[tuple(path)]) == "number"
