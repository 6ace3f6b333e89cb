"""What clients are told of sweeps."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, Field, JsonValue

from api import choosing
from spec.states import State
from spec.sweeps import Objective
from store import outcomes, sweeps
from store.database import ReadTx
from store.outcomes import LOOKING
from store.sweeps import Sweep, UnreadableSpecError


class BestOut(BaseModel):
    """The job that is ahead."""

    job: str
    parameters: dict[str, JsonValue]
    value: Annotated[float, Field(description="of the objective")]


class SweepOut(BaseModel):
    """A sweep as clients see it."""

    id: str
    owner: str
    name: str | None
    state: State
    spec: Annotated[
        dict[str, JsonValue],
        Field(description="as it was submitted, with every default filled in"),
    ]
    promised: Annotated[int, Field(description="configurations that it runs at most, each once")]
    counts: Annotated[dict[State, int], Field(description="its jobs by state")]
    best: BestOut | None
    ending: Annotated[str | None, Field(description="why no more jobs are begun")]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, tx: ReadTx, sweep: Sweep, counts: Mapping[State, int] | None = None) -> Self:
        """From the rows; `counts` are its jobs by state, where they have been counted."""
        if counts is None:
            counts = sweeps.counts(tx, [sweep.id])[sweep.id]
        objective = sweeps.objective_of(sweep)
        best = objective and outcomes.best(
            tx,
            sweep.id,
            objective.metric.split("."),
            largest=objective.direction == "maximize",
        )
        return cls(
            id=sweep.id,
            owner=sweep.owner,
            name=sweep.name,
            state=sweep.state,
            spec=sweep.spec,
            promised=sweep.promised,
            counts={state: counts.get(state, 0) for state in State},
            best=best and BestOut(job=best.job_id, parameters=best.parameters, value=best.value),
            ending=sweep.ending or _unreadable(sweep),
            created_at=sweep.created_at,
            started_at=sweep.started_at,
            finished_at=sweep.finished_at,
        )


def _unreadable(sweep: Sweep) -> str | None:
    """Why this server begins no more of a sweep that has not ended."""
    try:
        sweeps.spec_of(sweep)
    except UnreadableSpecError:
        return "its spec is that of another version of stepsize: update the server, or cancel it"
    return None


class SweepsOut(BaseModel):
    """A page of sweeps."""

    data: list[SweepOut]
    next_cursor: str | None


class StepOut(BaseModel):
    """A step of a recipe."""

    name: Annotated[str, Field(description="its jobs have this as their tag `step`")]
    jobs: Annotated[int, Field(description="at most")]
    iterations: Annotated[int | None, Field(description="at most, of all its jobs, where known")]
    seconds: Annotated[float | None, Field(description="of computing, where known")]


class PreviewOut(BaseModel):
    """What a sweep would run."""

    jobs: Annotated[int, Field(description="at most, where the sampler learns from results")]
    iterations: Annotated[
        int | None, Field(description="of all jobs; null where it depends on the size of the data")
    ]
    seconds: Annotated[
        float | None, Field(description="of computing, by the speed of like jobs; null: none yet")
    ]
    at_most: Annotated[
        bool, Field(description="whether jobs may be stopped early, and all be less than this")
    ]
    sample: Annotated[
        list[dict[str, JsonValue]],
        Field(description="the first configurations; rates that are to be found are left out"),
    ]
    steps: Annotated[
        list[StepOut] | None, Field(description="of a recipe, one after the other; else null")
    ] = None


class ResultOut(BaseModel):
    """One configuration, and what came of it."""

    job: Annotated[str | None, Field(description="null where it has been deleted")]
    number: int
    state: State | None
    parameters: dict[str, JsonValue]
    value: Annotated[float | None, Field(description="of the objective")]
    metrics: Annotated[dict[str, JsonValue], Field(description="the numbers of the job's result")]
    stopped: Annotated[
        str | None, Field(description="why it was ended early; `value` is of the point it came to")
    ]
    short: Annotated[
        bool,
        Field(
            description="of those that look for where to look: a brief run of coarse_to_fine, or a"
            " recipe's search for the learning rates; compare it with the others only"
        ),
    ]


class ResultsOut(BaseModel):
    """One row a job, in the order in which they were chosen."""

    data: list[ResultOut]
    next_cursor: Annotated[str | None, Field(description="null where there are no more")]


def result(trial: sweeps.Trial, objective: Objective | None) -> ResultOut:
    """A row of results."""
    job = trial.job
    numbers = {
        name: value
        for name, value in (job.result or {} if job else {}).items()
        if value is None or isinstance(value, int | float | str)
    }
    return ResultOut(
        job=job and job.id,
        number=trial.number,
        state=job and job.state,
        parameters=trial.parameters,
        value=choosing.value_of(job, objective) if job and objective else None,
        metrics=numbers,
        stopped=job and choosing.stopped(job),
        short=trial.memory.get("stage") in LOOKING,
    )
