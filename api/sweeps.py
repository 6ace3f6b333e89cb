"""Sweeps: many jobs from one template, chosen by a sampler, judged by one objective."""

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api import choosing, preferences, submission, tables
from api.conditional import CSV, conditional
from api.etags import etag_of_outcomes, etag_of_sweep, etag_of_sweeps, matches
from api.examples import SWEEPS
from api.idempotency import SWEEP_CREATED, OncePart
from api.parts import (
    AcceptPart,
    BrokerPart,
    CallerPart,
    CataloguePart,
    ChangesPart,
    IfNoneMatchPart,
    PreferPart,
    SessionsPart,
    SweepIdPart,
)
from api.previews import previewed
from api.sweep_answers import PreviewOut, ResultsOut, SweepOut, SweepsOut, result
from spec.access import Caller
from spec.recipes import AnySweep, RecipeSpec
from spec.spaces import MOST_JOBS
from store import audit, outcomes, standings, sweep_moves, sweeps
from store.database import Sessions
from store.jobs import Job
from store.standings import Standing
from store.sweeps import Sweep

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"])

SpecPart = Annotated[AnySweep, Body(openapi_examples=SWEEPS)]

WAKE_UPS = 100
"""Workers that one request wakes; the reconciler wakes more while jobs wait."""


class Page(BaseModel):
    """Which sweeps to list."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: Annotated[str | None, Field(pattern=r"^swp_[0-9a-z]{1,60}$")] = None


class Rows(BaseModel):
    """Which results to tell."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[
        int | None, Field(ge=1, le=MOST_JOBS, description="the most rows; unset: all of them")
    ] = None
    cursor: Annotated[
        str | None, Field(pattern=r"^[0-9]{1,6}$", description="`next_cursor` of the page before")
    ] = None


@router.post(
    "",
    status_code=201,
    operation_id="submit_sweep",
    response_model=SweepOut,
    responses=SWEEP_CREATED,
)
def submit(
    *,
    spec: SpecPart,
    caller: CallerPart,
    once: OncePart,
    sessions: SessionsPart,
    broker: BrokerPart,
    catalogue: CataloguePart,
) -> Response:
    """Submits a sweep or a recipe; what it runs is settled now, or follows as jobs end."""
    learns = choosing.learns(spec)
    choices = choosing.first_of(spec, catalogue)
    promised = choosing.promised(spec) if learns else len(choices)
    held = spec.budget.parallel is not None or spec.budget.iterations is not None
    with sessions.begin() as tx:
        if earlier := once.earlier(tx):
            return earlier
        submission.admit(tx, by=caller)
        if isinstance(spec, RecipeSpec):
            choosing.require_named(tx, spec, owner=caller.owner)
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
def preview(
    spec: SpecPart, caller: CallerPart, sessions: SessionsPart, catalogue: CataloguePart
) -> PreviewOut:
    """What a sweep or a recipe would run, before it costs anything."""
    with sessions.read() as tx:
        return previewed(tx, spec, catalogue, owner=caller.owner)


@router.get(
    "",
    operation_id="list_sweeps",
    response_model=SweepsOut,
    responses=conditional("of the sweeps and of what became of their jobs"),
)
def find(
    page: Annotated[Page, Query()],
    caller: CallerPart,
    sessions: SessionsPart,
    if_none_match: IfNoneMatchPart = None,
) -> Response:
    """Lists sweeps, newest first; the weak ETag changes whenever anything in the answer does."""
    with sessions.read() as tx:
        found = sweeps.find(tx, owner=caller.owner, before=page.cursor, limit=page.limit + 1)
        shown, more = found[: page.limit], found[page.limit :]
        cursor = shown[-1].id if more else None
        standing = standings.of(tx, [each.id for each in shown])
        headers = {"ETag": etag_of_sweeps([standing[each.id] for each in shown], cursor)}
        if matches(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        data = [SweepOut.of(tx, each, standing[each.id].counts) for each in shown]
    told = SweepsOut(data=data, next_cursor=cursor)
    return Response(told.model_dump_json(), 200, headers, media_type="application/json")


@router.get(
    "/{sweep_id:sweep}",
    operation_id="get_sweep",
    response_model=SweepOut,
    responses=conditional("of the sweep and of what became of its jobs", waits=True),
)
async def get(
    *,
    sweep_id: SweepIdPart,
    caller: CallerPart,
    sessions: SessionsPart,
    changes: ChangesPart,
    if_none_match: IfNoneMatchPart = None,
    prefer: PreferPart = [],  # noqa: B006 - FastAPI's way to say it, never changed
) -> Response:
    """One sweep: its jobs by state, and the best so far; the weak ETag changes with either.

    With `Prefer: wait=N` the answer comes when the sweep has changed: from the version of the ETag
    in If-None-Match, without one from what it is now, where it has not finished.
    """
    seconds = preferences.wait(prefer)
    headers = {}
    if seconds is not None:
        headers["Preference-Applied"] = f"wait={seconds}"
        sweep, standing = await run_in_threadpool(_standing, sessions, caller, sweep_id)
        known = matches(if_none_match, etag_of_sweep(standing))
        if known or (if_none_match is None and sweep.finished_at is None):
            await changes.wait({sweep_id: standing.tag}, within=seconds)
    return await run_in_threadpool(_told, sessions, caller, sweep_id, if_none_match, headers)


@router.get(
    "/{sweep_id:sweep}/results",
    operation_id="get_sweep_results",
    response_model=ResultsOut,
    responses=conditional("of what became of the jobs", table=True),
)
def results(
    *,
    page: Annotated[Rows, Query()],
    sweep_id: SweepIdPart,
    caller: CallerPart,
    sessions: SessionsPart,
    accept: AcceptPart = "*/*",
    if_none_match: IfNoneMatchPart = None,
) -> Response:
    """One row a job: parameters, state, the objective and every number of the result."""
    start, as_table = int(page.cursor or 0), CSV in accept
    more = None if page.limit is None else page.limit + 1
    with sessions.read() as tx:
        sweep = sweeps.get(tx, sweep_id, owner=caller.owner)
        tag = outcomes.tag(tx, sweep_id, start=start, limit=more)
        headers = {"ETag": etag_of_outcomes(tag, page, as_table), "Vary": "Accept"}
        if matches(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        found = sweeps.trials_of(tx, sweep_id, start=start, limit=more)
    objective = sweeps.objective_of(sweep)
    rows = [result(each, objective) for each in found[: page.limit]]
    if as_table:
        return Response(tables.of_results(rows), 200, headers, media_type=CSV)
    cursor = None if len(found) == len(rows) else str(found[-1].number)
    told = ResultsOut(data=rows, next_cursor=cursor)
    return Response(told.model_dump_json(), 200, headers, media_type="application/json")


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


def _standing(sessions: Sessions, caller: Caller, sweep_id: str) -> tuple[Sweep, Standing]:
    with sessions.read() as tx:
        sweep = sweeps.get(tx, sweep_id, owner=caller.owner)
        return sweep, standings.of(tx, [sweep_id])[sweep_id]


def _told(
    sessions: Sessions,
    caller: Caller,
    sweep_id: str,
    if_none_match: str | None,
    headers: dict[str, str],
) -> Response:
    with sessions.read() as tx:
        sweep = sweeps.get(tx, sweep_id, owner=caller.owner)
        standing = standings.of(tx, [sweep_id])[sweep_id]
        headers = {"ETag": etag_of_sweep(standing), **headers}
        if matches(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        told = SweepOut.of(tx, sweep, standing.counts)
    return Response(told.model_dump_json(), 200, headers, media_type="application/json")


def _wake(broker: BrokerPart, jobs: list[Job]) -> None:
    for job in jobs[:WAKE_UPS]:
        broker.wake(job.queue, job.id)
