"""What the server answers, as small frozen values."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pydantic import Field

from stepsize.acting import Acting
from stepsize.answers import Answer
from stepsize.errors import FieldError, StepsizeError

STATUSES = {
    "no_descent": "the loss never fell",
    "no_edge_in_range": "no upper limit was found in the range",
    "diverged_at_start": "it diverged from the start",
    "too_noisy": "too noisy to say",
    "insufficient_points": "too few iterations to say",
    "nonfinite": "the loss was not finite",
}
"""What each status of a range test but `ok` means; what to do is the `advice` of its result."""


class Progress(Answer):
    """Optimizer updates done, and how many there will be once that is known."""

    iteration: int = 0
    iterations: int | None = None


class Failure(Answer):
    """Why a job failed."""

    reason: str
    detail: str = ""


class Suggestion(Answer):
    """The learning rates that a range test recommends, and `schedules` that use them by name."""

    base_lr: float
    max_lr: float
    fixed_lr: float | None = None
    schedules: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Origin(Answer):
    """The checkpoint of another training that a training began with."""

    job: str
    iteration: int


class JobPreview(Answer):
    """What a submission would come to: taken or not, `spec` with its defaults, and what it costs.

    `iterations` are at most so many, None where they depend on the data; `seconds` of computing
    are those of jobs like it, None before there has been one.
    """

    valid: bool
    problems: tuple[FieldError, ...] = ()
    warnings: list[str] = Field(default_factory=list)
    spec: dict[str, Any] | None = None
    iterations: int | None = None
    seconds: float | None = None


class Attempt(Answer):
    """One try at a job, by one worker; `began` and `iterations` are where it began and ended."""

    attempt: int
    worker: str
    started_at: datetime
    ended_at: datetime | None = None
    outcome: str | None = None
    reason: str | None = None
    began: int = 0
    iterations: int | None = None


class Change(Answer):
    """One change of a job; state, attempt and iteration are those after it."""

    at: datetime
    actor: str
    verb: str
    state: str
    attempt: int
    iteration: int
    detail: str | None = None


class Waiting(Answer):
    """Why a queued job has not been given to a worker, `detail` in words."""

    why: str
    detail: str
    until: datetime | None = None
    ahead: int | None = None
    fitting: int = 0
    lacking: list[dict[str, Any]] = Field(default_factory=list)


class Job(Acting):
    """A range test or a training, as it was at the time of asking.

    `attempts`, `history` and, while it is queued, `waiting` are there where the job was asked for
    by its id.
    """

    kind: str
    name: str | None = None
    spec: dict[str, Any] = Field(default_factory=dict)
    resolved: dict[str, Any] | None = None
    warnings: list[str] = Field(default_factory=list)
    progress: Progress = Progress()
    result: dict[str, Any] | None = None
    error: Failure | None = None
    attempt: int = 0
    checkpoint: int | None = None
    parent: Origin | None = None
    cancel_requested: bool = False
    pause_requested: bool = False
    attempts: list[Attempt] = Field(default_factory=list)
    history: list[Change] = Field(default_factory=list)
    waiting: Waiting | None = None
    sweep: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Of a line's length: what there is beside is in the fields."""
        done, planned = self.progress.iteration, self.progress.iterations
        yield from (("id", self.id), ("kind", self.kind), ("state", self.state))
        if self.name:
            yield "name", self.name
        yield "iterations", f"{done:,} of {'?' if planned is None else f'{planned:,}'}"

    @property
    def pace(self) -> float | None:
        """Iterations per second of the engine; None before there is a result.

        None as well of a training that goes on from another: its result counts the other's too.
        """
        result = self.result or {}
        if self.parent is not None or not result.get("seconds"):
            return None
        pace: float = result["iterations"] / result["seconds"]
        return pace

    @property
    def suggestion(self) -> Suggestion:
        """What the finished range test recommends, or that of a training under `auto`.

        Raises:
            StepsizeError: the job has no suggestion; the message says why.
        """
        if not self.finished:
            raise StepsizeError(f"{self.id} is {self.state}: it has no suggestion yet")
        result = self.result or {}
        result = result.get("range_test") or result
        if self.kind == "training" and "suggestion" not in result:
            raise StepsizeError(
                f"{self.id} is a training: range tests have suggestions, and what policy auto found"
            )
        if not result.get("suggestion"):
            raise StepsizeError(f"{self.id} has no suggestion: {result.get('status', self.state)}")
        return Suggestion.model_validate(result["suggestion"])


class JobList(Answer):
    """Jobs that were submitted together."""

    data: list[Job]


class JobPage(Answer):
    """One page of a list of jobs."""

    data: list[Job]
    next_cursor: str | None = None


class Checkpoint(Answer):
    """The state of a training after so many iterations, in a file that PyTorch reads."""

    iteration: int
    attempt: int
    bytes: int
    sha256: str
    lasting: bool
    created_at: datetime


class CheckpointList(Answer):
    """Every checkpoint of a job, oldest first."""

    data: list[Checkpoint]


class Quarantine(Answer):
    """Why a worker's device is given no jobs, and until when."""

    reason: str
    until: datetime


class Worker(Answer):
    """A process that runs jobs: idle, busy, draining, quarantined, or lost when not heard of."""

    name: str
    state: str
    device: str | None = None
    job: str | None = None
    quarantine: Quarantine | None = None
    left_out: tuple[str, ...] = ()
    started_at: datetime | None = None
    last_heartbeat: datetime | None = None


class WorkerList(Answer):
    """Every worker the server knows."""

    data: list[Worker]


class Figures(Answer):
    """One recorded quantity of one repeat; extremes are over finite values."""

    repeat: int
    name: str
    count: int
    first: float | None
    last: float | None
    min: float | None
    min_at: int | None
    max: float | None
    max_at: int | None


class Summary(Answer):
    """Every quantity that a job has recorded."""

    data: list[Figures]
