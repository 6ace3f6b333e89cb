"""Sweeps: many jobs from one template, chosen by a sampler, judged by one objective."""

from typing import Annotated

from fastapi import APIRouter, Body, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api import choosing
from api.examples import SWEEPS
from api.idempotency import SWEEP_CREATED, OncePart
from api.parts import BrokerPart, CallerPart, SessionsPart, SweepIdPart
from api.previews import previewed
from api.sweep_answers import PreviewOut, ResultsOut, SweepOut, SweepsOut, result, table
from spec.recipes import AnySweep
from store import audit, sweep_moves, sweeps
from store.jobs import Job

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"])

SpecPart = Annotated[AnySweep, Body(openapi_examples=SWEEPS)]

WAKE_UPS = 100
"""Workers that one request wakes; the reconciler wakes more while jobs wait."""


class Page(BaseModel):
    """Which sweeps to list."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: Annotated[str | None, Field(pattern=r"^swp_[0-9a-z]{1,60}$")] = None


@router.post(
    "",
    status_code=201,
    operation_id="submit_sweep",
    response_model=SweepOut,
    responses=SWEEP_CREATED,
)
def submit(
    spec: SpecPart, caller: CallerPart, once: OncePart, sessions: SessionsPart, broker: BrokerPart
) -> Response:
    """Submits a sweep or a recipe; what it runs is settled now, or follows as jobs end."""
    learns = choosing.learns(spec)
    choices = choosing.first_of(spec)
    promised = choosing.promised(spec) if learns else len(choices)
    held = spec.budget.parallel is not None or spec.budget.iterations is not None
    with sessions.begin() as tx:
        if earlier := once.earlier(tx):
            return earlier
        sweep = sweeps.add(
            tx,
            spec.model_dump(mode="json"),
            by=caller,
            name=spec.name,
            promised=promised,
            parallel=spec.budget.parallel,
            one_for_one=spec.budget.parallel is not None and spec.budget.iterations is None,
            ending=None if learns else sweep_moves.DONE,
        )
        added = choosing.add(tx, sweep, choices, by=caller, first=0, held=held)
        freed = choosing.let_go(tx, sweep, spec, by=caller) if held else added
        audit.note(tx, caller, "submit_sweep", sweep.id)
        answer = once.created(tx, SweepOut.of(tx, sweep), location=f"/v1/sweeps/{sweep.id}")
    _wake(broker, freed)
    return answer


@router.post("/preview", operation_id="preview_sweep")
def preview(spec: SpecPart, caller: CallerPart, sessions: SessionsPart) -> PreviewOut:
    """What a sweep or a recipe would run, before it costs anything."""
    with sessions.read() as tx:
        return previewed(tx, spec, owner=caller.owner)


@router.get("", operation_id="list_sweeps")
def find(page: Annotated[Page, Query()], caller: CallerPart, sessions: SessionsPart) -> SweepsOut:
    """Lists sweeps, newest first."""
    with sessions.read() as tx:
        found = sweeps.find(tx, owner=caller.owner, before=page.cursor, limit=page.limit + 1)
        data = [SweepOut.of(tx, each) for each in found[: page.limit]]
    more = len(found) > page.limit
    return SweepsOut(data=data, next_cursor=data[-1].id if more else None)


@router.get("/{sweep_id:sweep}", operation_id="get_sweep")
def get(sweep_id: SweepIdPart, caller: CallerPart, sessions: SessionsPart) -> SweepOut:
    """One sweep: its jobs by state, and the best so far."""
    with sessions.read() as tx:
        return SweepOut.of(tx, sweeps.get(tx, sweep_id, owner=caller.owner))


@router.get(
    "/{sweep_id:sweep}/results",
    operation_id="get_sweep_results",
    response_model=ResultsOut,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
def results(
    sweep_id: SweepIdPart,
    caller: CallerPart,
    sessions: SessionsPart,
    accept: Annotated[str, Header(alias="Accept", description="`text/csv` for a table")] = "*/*",
) -> Response:
    """One row a job: parameters, state, the objective and every number of the result."""
    with sessions.read() as tx:
        sweep = sweeps.get(tx, sweep_id, owner=caller.owner)
        found = sweeps.trials_of(tx, sweep_id)
    objective = sweeps.spec_of(sweep).objective
    rows = [result(each, objective) for each in found]
    if "text/csv" in accept:
        return Response(table(rows), media_type="text/csv")
    return Response(ResultsOut(data=rows).model_dump_json(), media_type="application/json")


@router.post("/{sweep_id:sweep}/cancel", operation_id="cancel_sweep")
def cancel(sweep_id: SweepIdPart, caller: CallerPart, sessions: SessionsPart) -> SweepOut:
    """Cancels every job that has not ended, and begins no more."""
    with sessions.begin() as tx:
        sweep = sweep_moves.cancel(tx, sweep_id, by=caller)
        audit.note(tx, caller, "cancel", sweep_id)
        return SweepOut.of(tx, sweep)


@router.post("/{sweep_id:sweep}/pause", operation_id="pause_sweep")
def pause(sweep_id: SweepIdPart, caller: CallerPart, sessions: SessionsPart) -> SweepOut:
    """Pauses every job that has not ended, and begins no more for now."""
    with sessions.begin() as tx:
        sweep = sweep_moves.pause(tx, sweep_id, by=caller)
        audit.note(tx, caller, "pause", sweep_id)
        return SweepOut.of(tx, sweep)


@router.post("/{sweep_id:sweep}/resume", operation_id="resume_sweep")
def resume(
    sweep_id: SweepIdPart, caller: CallerPart, sessions: SessionsPart, broker: BrokerPart
) -> SweepOut:
    """Lets a paused sweep go on, each job from its checkpoint."""
    with sessions.begin() as tx:
        sweep, freed = sweep_moves.resume(tx, sweep_id, by=caller)
        audit.note(tx, caller, "resume", sweep_id)
        told = SweepOut.of(tx, sweep)
    _wake(broker, freed)
    return told


@router.post("/{sweep_id:sweep}/retry", operation_id="retry_sweep")
def retry(
    sweep_id: SweepIdPart, caller: CallerPart, sessions: SessionsPart, broker: BrokerPart
) -> SweepOut:
    """Queues the failed jobs again, and those only."""
    with sessions.begin() as tx:
        sweep, again = sweep_moves.retry(tx, sweep_id, by=caller)
        audit.note(tx, caller, "retry", sweep_id)
        told = SweepOut.of(tx, sweep)
    _wake(broker, again)
    return told


def _wake(broker: BrokerPart, jobs: list[Job]) -> None:
    for job in jobs[:WAKE_UPS]:
        broker.wake(job.queue, job.id)
