"""What clients are told of jobs."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, JsonValue

from api.problems import FieldError
from spec.states import Reason, State
from store.jobs import Job
from store.waiting import Why

Outcome = Literal["succeeded", "failed", "cancelled", "paused", "handed_back", "lost"]


class Progress(BaseModel):
    """How far a job is; `iterations` is null until a worker knows the size of an epoch."""

    iteration: int
    iterations: int | None


class Failure(BaseModel):
    """Why a job failed."""

    reason: Reason
    detail: str


class ParentOut(BaseModel):
    """The checkpoint of another training that a training began with."""

    job: str
    iteration: int


class JobOut(BaseModel):
    """A job as clients see it."""

    id: Annotated[str, Field(description="sorts by the time of submission")]
    owner: Annotated[str, Field(description="whose keys see it")]
    kind: Literal["range_test", "training"]
    state: State
    name: str | None
    spec: Annotated[
        dict[str, JsonValue],
        Field(description="as it was submitted, with every default filled in"),
    ]
    resolved: Annotated[
        dict[str, JsonValue] | None,
        Field(description="the schedule in numbers: bounds from range tests, epochs in iterations"),
    ]
    warnings: Annotated[
        list[str],
        Field(description="what is odd about the job; complete once it has been planned"),
    ]
    progress: Progress
    result: dict[str, JsonValue] | None
    error: Failure | None
    attempt: int
    checkpoint: Annotated[
        int | None,
        Field(description="iteration of the last checkpoint, which the next attempt goes on from"),
    ]
    parent: Annotated[
        ParentOut | None,
        Field(description="what the job goes on from, as its `from` asked"),
    ]
    cancel_requested: bool
    pause_requested: bool
    worker: str | None
    sweep: Annotated[str | None, Field(description="the sweep that it is a trial of")]
    series_deleted_at: Annotated[
        datetime | None, Field(description="when a rule of retention deleted what it had recorded")
    ]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, job: Job, **more: Any) -> Self:
        """From the row; `more` are the fields that are not in it."""
        return cls(
            id=job.id,
            owner=job.owner,
            kind=job.kind,
            state=job.state,
            name=job.name,
            spec=job.spec,
            resolved=job.resolved,
            warnings=(job.resolved or {}).get("warnings", []),
            progress=Progress(iteration=job.iteration, iterations=job.iterations),
            result=job.result,
            error=job.reason and Failure(reason=job.reason, detail=job.detail or ""),
            attempt=job.attempt,
            checkpoint=job.checkpoint,
            parent=job.parent and ParentOut(job=job.parent, iteration=job.parent_iteration),
            cancel_requested=job.cancel_requested,
            pause_requested=job.pause_requested,
            worker=job.lease_owner,
            sweep=job.sweep,
            series_deleted_at=job.series_deleted_at,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            **more,
        )


class JobPreviewOut(BaseModel):
    """What would become of a job if it were submitted now."""

    valid: Annotated[bool, Field(description="whether it would be taken")]
    problems: Annotated[
        list[FieldError], Field(description="why not, as the `errors` of a 422 say it; else empty")
    ]
    warnings: Annotated[list[str], Field(description="what is odd about the job")] = []
    spec: Annotated[
        dict[str, JsonValue] | None,
        Field(description="with every default filled in; null where it cannot be read"),
    ] = None
    iterations: Annotated[
        int | None,
        Field(description="at most, what it goes on from included; null: it depends on the data"),
    ] = None
    seconds: Annotated[
        float | None, Field(description="of computing, by the speed of like jobs; null: none yet")
    ] = None


class AttemptOut(BaseModel):
    """One try at a job, by one worker."""

    attempt: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: Annotated[
        Outcome | None,
        Field(description="null while the attempt lasts"),
    ]
    reason: Annotated[Reason | None, Field(description="why it failed")]
    began: Annotated[int, Field(description="the iteration that it went on from")]
    iterations: Annotated[int | None, Field(description="the job's iteration when it ended")]


class ChangeOut(BaseModel):
    """One change of a job; state, attempt and iteration are those after it."""

    at: datetime
    actor: Annotated[str, Field(description="client, reconciler or the name of a worker")]
    verb: str
    state: State
    attempt: int
    iteration: int
    detail: str | None


class LackOut(BaseModel):
    """What so many workers of a job's queue lack for it."""

    lacks: list[str]
    workers: int


class WaitingOut(BaseModel):
    """Why a queued job has not been given to a worker."""

    why: Annotated[
        Why,
        Field(
            description="held by its sweep; left alone before it is tried again; no worker offers"
            " what it needs; its owner has as many running as may be; all that could run it are"
            " busy, or one is idle and takes it soon"
        ),
    ]
    detail: Annotated[str, Field(description="the same in words")]
    until: Annotated[datetime | None, Field(description="when it is tried again")]
    ahead: Annotated[
        int | None,
        Field(description="of its owner's jobs with the same needs, 1000 at most; null: no line"),
    ]
    fitting: Annotated[int, Field(description="live workers that could run it")]
    lacking: Annotated[
        list[LackOut], Field(description="by the other live workers of its queue, where none fits")
    ]


class JobDetailOut(JobOut):
    """A job with all that happened to it."""

    request: Annotated[
        str | None,
        Field(description="the X-Request-ID of its submission, which the logs have too"),
    ]
    waiting: Annotated[WaitingOut | None, Field(description="null unless it is queued")]
    attempts: Annotated[list[AttemptOut], Field(description="the latest 500, oldest first")]
    history: Annotated[list[ChangeOut], Field(description="the latest 500, oldest first")]


class JobsOut(BaseModel):
    """One page of jobs, newest first."""

    data: list[JobOut]
    next_cursor: Annotated[
        str | None,
        Field(description="pass as `cursor` for the next page; null on the last"),
    ]
