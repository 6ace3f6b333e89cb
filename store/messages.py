"""What webhooks are told of jobs and sweeps: the event that a change is, and a short account."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy import BindParameter, Row, bindparam, func, select

from spec.states import State
from spec.sweeps import Objective
from spec.webhooks import OF_JOBS, OF_SWEEPS, Event
from store import outcomes
from store.database import ReadTx, WriteTx
from store.outbox import Listeners, Message, listeners, moment, put
from store.tables import job_tags, jobs

RESULT = (
    "status",
    "suggestion",
    "interval",
    "agreement",
    "train_loss",
    "val_loss",
    "val_accuracy",
    "best",
    "diverged_at",
    "stopped",
    "iterations",
    "seconds",
)
"""What of a result is told; `GET /v1/jobs/{id}` has the rest."""

DETAIL = 1000
"""Characters of what failed that are told."""

FORGET = "forget"
"""The verb of a change that deletes what an ended job has recorded."""

AT_ONCE = 1000
"""Jobs that are looked up by one statement."""

_IDS: BindParameter[Sequence[str]] = bindparam("ids", expanding=True)
_JOBS = select(
    *(
        jobs.c[name]
        for name in (
            "id",
            "owner",
            "kind",
            "name",
            "state",
            "sweep",
            "attempt",
            "iteration",
            "iterations",
            "reason",
            "detail",
            "result",
            "created_at",
            "started_at",
            "finished_at",
        )
    )
).where(jobs.c.id.in_(_IDS))
_TAGS = select(job_tags).where(job_tags.c.job_id.in_(_IDS))
_COUNTS = (
    select(jobs.c.state, func.count()).where(jobs.c.sweep == bindparam("of")).group_by(jobs.c.state)
)


def of_jobs(tx: WriteTx, rows: Sequence[Row[Any]], *, verb: str) -> None:
    """Tells of jobs whose state has changed; the rows are those of `history.note`."""
    events = {row.id: event for row in rows if (event := event_of(verb, State(row.state)))}
    if not events:
        return
    found = listeners(tx, {row.owner for row in rows})
    if found is None:
        return
    ids = [each for each, event in events.items() if found.any_of(event)]
    for start in range(0, len(ids), AT_ONCE):
        put(tx, _of_jobs(tx, found, events, ids[start : start + AT_ONCE]))


def event_of(verb: str, state: State) -> Event | None:
    """What a change of a job is to those outside; None: nothing that they are told."""
    if verb == FORGET or (state == State.RUNNING and verb != "claim"):
        return None  # asked to stop, something was noted or deleted: its state is as before
    return OF_JOBS.get(state)


def of_sweep(tx: WriteTx, row: Row[Any]) -> None:
    """Tells of a sweep whose state has changed, into that of this row."""
    event = OF_SWEEPS.get(State(row.state))
    found = event and listeners(tx, {row.owner})
    if not (event and found):
        return
    template = row.spec.get("template")
    tags = template.get("tags") if isinstance(template, dict) else None
    wanted = found.of(owner=row.owner, event=event, tags=tags or {}, sweep=row.id)
    if wanted:
        data = {"sweep": _sweep(tx, row, tags or {})}
        put(tx, [Message(each, event, row.id, found.at, data) for each in wanted])


def _of_jobs(
    tx: ReadTx, found: Listeners, events: Mapping[str, Event], ids: Sequence[str]
) -> Iterator[Message]:
    tags: dict[str, dict[str, str]] = {each: {} for each in ids}
    for job_id, key, value in tx.execute(_TAGS, {"ids": ids}):
        tags[job_id][key] = value
    for row in tx.execute(_JOBS, {"ids": ids}):
        mine, event = tags[row.id], events[row.id]
        data = None
        for each in found.of(owner=row.owner, event=event, tags=mine, sweep=row.sweep):
            data = data or {"job": _job(row, mine)}
            yield Message(each, event, row.id, found.at, data)


def _job(row: Row[Any], tags: Mapping[str, str]) -> dict[str, Any]:
    result = row.result and {name: row.result[name] for name in RESULT if name in row.result}
    return {
        "id": row.id,
        "kind": row.kind,
        "name": row.name,
        "state": row.state,
        "tags": tags,
        "sweep": row.sweep,
        "attempt": row.attempt,
        "progress": {"iteration": row.iteration, "iterations": row.iterations},
        "reason": row.reason,
        "detail": row.detail and row.detail[:DETAIL],
        "result": result,
        **_times(row),
    }


def _sweep(tx: ReadTx, row: Row[Any], tags: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "state": row.state,
        "tags": tags,
        "counts": {state: count for state, count in tx.execute(_COUNTS, {"of": row.id})},  # noqa: C416 - dict(rows) hides the types
        "promised": row.promised,
        "ending": row.ending,
        "best": _best(tx, row) if State(row.state).finished else None,
        **_times(row),
    }


def _best(tx: ReadTx, row: Row[Any]) -> dict[str, Any] | None:
    try:
        objective = Objective.model_validate(row.spec["objective"])
    except (KeyError, ValidationError):  # another version has stored it
        return None
    path, largest = objective.metric.split("."), objective.direction == "maximize"
    best = outcomes.best(tx, row.id, path, largest=largest)
    if best is None:
        return None
    return {"job": best.job_id, "parameters": best.parameters, "value": best.value}


def _times(row: Row[Any]) -> dict[str, str | None]:
    return {
        name: moment(getattr(row, name)) for name in ("created_at", "started_at", "finished_at")
    }
