"""What clients are told of sweeps."""

import csv
import io
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, JsonValue

from api import choosing
from spec.states import State
from spec.sweeps import Objective
from store import sweeps
from store.database import ReadTx
from store.sweeps import Sweep


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
    def of(cls, tx: ReadTx, sweep: Sweep) -> Self:
        """From the rows."""
        counts = sweeps.counts(tx, [sweep.id])[sweep.id]
        objective = sweeps.spec_of(sweep).objective
        best = sweeps.best(
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
            ending=sweep.ending,
            created_at=sweep.created_at,
            started_at=sweep.started_at,
            finished_at=sweep.finished_at,
        )


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


def result(trial: sweeps.Trial, objective: Objective) -> ResultOut:
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
        value=job and choosing.value_of(job, objective),
        metrics=numbers,
        short=trial.memory.get("stage") in sweeps.LOOKING,
    )


def table(rows: list[ResultOut]) -> str:
    """Rows of results as CSV, with a column for each parameter and each number."""
    parameters = list(dict.fromkeys(name for row in rows for name in row.parameters))
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["job", "number", "state", *parameters, "value", *metrics])
    for row in rows:
        told: list[Any] = [row.parameters.get(name) for name in parameters]
        found = [row.metrics.get(name) for name in metrics]
        writer.writerow([row.job, row.number, row.state, *told, row.value, *found])
    return out.getvalue()
