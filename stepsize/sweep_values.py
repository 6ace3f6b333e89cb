"""Sweeps as values: how one stands, what came of its jobs, what one would run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field

from stepsize.answers import FINISHED, Answer, Lasting
from stepsize.judgments import Importances, Marginals, Pair, Pick, Ranking

if TYPE_CHECKING:
    import pandas as pd

    from stepsize.sweeps import Sweeps

Row = dict[str, Any]


class Best(Answer):
    """The job that is ahead, and the value of the objective by which it is."""

    job: str
    parameters: Row
    value: float


class Sweep(Lasting):
    """A sweep, as it was at the time of asking; `counts` are its jobs by state."""

    name: str | None = None
    spec: Row = Field(default_factory=dict)
    promised: int
    counts: dict[str, int]
    best: Best | None = None
    ending: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Of a line's length: what there is beside is in the fields."""
        yield from (("id", self.id), ("state", self.state))
        if self.name:
            yield "name", self.name
        yield "jobs", f"{self.done:,} of {self.promised:,}"
        if self.best:
            yield "best", self.best.value

    @property
    def done(self) -> int:
        """Jobs that have ended, however."""
        return sum(count for state, count in self.counts.items() if state in FINISHED)

    @property
    def is_recipe(self) -> bool:
        """Whether it finds learning rates first, and then compares schedules."""
        return self.spec.get("kind") == "recipe"

    @property
    def metric(self) -> str:
        """What its jobs are judged by."""
        return str(self.spec.get("objective", {}).get("metric", "val_loss"))

    @property
    def maximizes(self) -> bool:
        """Whether more of that is better."""
        return bool(self.spec.get("objective", {}).get("direction") == "maximize")

    @property
    def spent(self) -> str | None:
        """Which budget ended it, in words; None where none did."""
        if self.ending and self.ending.startswith("its budget of "):
            return self.ending
        jobs = (self.spec.get("budget") or {}).get("jobs")
        if not jobs or not self.finished or sum(self.counts.values()) < jobs:
            return None
        return f"its budget of {jobs:,} jobs is spent"

    @property
    def of_range_tests(self) -> bool:
        """Whether its jobs are range tests, which are compared by `pick` rather than ranked."""
        return bool(self.spec.get("template", {}).get("kind") == "range_test")

    def refresh(self) -> Sweep:
        """The sweep as it is now."""
        return self._sweeps.get(self.id)

    def wait(self, *, progress: bool = False, timeout: float | None = None) -> Sweep:
        """The sweep once it has finished, whatever its end; with `progress`, draws a bar."""
        return self._sweeps.wait(self.id, progress=progress, timeout=timeout)

    def results(self) -> list[SweepResult]:
        """One row a job, the best first."""
        return ranked(self, self._sweeps.results(self.id))

    def to_pandas(self) -> pd.DataFrame:
        """The results as a data frame, in the order in which they were chosen; needs pandas."""
        return self._sweeps.to_pandas(self.id)

    @property
    def _sweeps(self) -> Sweeps:
        return cast("Sweeps", self.home())

    def rates(self) -> dict[str, float] | None:
        """The learning rates that the range test of a recipe suggests; None before it has."""
        return self._sweeps.rates(self.id)

    def ranking(self, *, repeated: Sequence[str] = ("/seed",), limit: int | None = None) -> Ranking:
        """Configurations, the best first, each compared with the best over its seeds."""
        return self._sweeps.ranking(self.id, repeated=repeated, limit=limit)

    def importance(self, *, by: Literal["rank", "value"] = "rank") -> Importances:
        """How much of how the values differ goes with each parameter, and with two together."""
        return self._sweeps.importance(self.id, by=by)

    def marginals(self, *parameters: str) -> Marginals:
        """What the values are along these parameters (JSON pointers), or along each."""
        return self._sweeps.marginals(self.id, *parameters)

    def pairs(self, x: str, y: str) -> Pair:
        """What the values are along two parameters."""
        return self._sweeps.pairs(self.id, x, y)

    def pick(self, *, repeated: Sequence[str] = ("/seed",)) -> Pick:
        """Which of the settings of a sweep of range tests to train with."""
        return self._sweeps.pick(self.id, repeated=repeated)

    def cancel(self) -> Sweep:
        """Cancels every job that waits, asks running ones to stop, and begins no more."""
        return self._sweeps.cancel(self.id)

    def pause(self) -> Sweep:
        """Pauses every job that has not ended, and begins no more for now."""
        return self._sweeps.pause(self.id)

    def resume(self) -> Sweep:
        """Lets a paused sweep go on, each job from its checkpoint."""
        return self._sweeps.resume(self.id)

    def retry(self) -> Sweep:
        """Queues the failed jobs again, and those only."""
        return self._sweeps.retry(self.id)

    def _repr_html_(self) -> str:
        from stepsize.notebook import sweep_html  # noqa: PLC0415 - only where it is displayed

        return sweep_html(self)


class SweepResult(Answer):
    """One configuration and what came of it; `value` is that of the objective.

    `stopped` says why it was ended early: `value` is of the point that it came to. `short` is one
    of the brief first runs of `coarse_to_fine`, which longer ones do not compare to.
    """

    job: str | None
    number: int
    state: str | None
    parameters: Row
    value: float | None
    metrics: Row = Field(default_factory=dict)
    stopped: str | None = None
    short: bool = False

    @property
    def row(self) -> Row:
        """All of it side by side; parameters are called by their pointers."""
        own = {name: getattr(self, name) for name in ("job", "number", "state", "stopped")}
        return own | self.parameters | {"value": self.value} | self.metrics


class Step(Answer):
    """A step of a recipe before it has begun; numbers are at most, None where not known."""

    name: str
    jobs: int
    iterations: int | None = None
    seconds: float | None = None


class SweepPreview(Answer):
    """What a sweep would run: jobs at most, and the first configurations.

    `iterations` and `seconds` are of all its jobs, None where they are not known, and `at_most`
    where some may be stopped early; a recipe has `steps`, one after the other.
    """

    jobs: int
    iterations: int | None = None
    seconds: float | None = None
    at_most: bool = False
    sample: list[Row]
    steps: list[Step] | None = None


def ranked(sweep: Sweep, results: list[SweepResult]) -> list[SweepResult]:
    """The best first; then those stopped early, short runs, not succeeded, without a value."""

    def place(each: SweepResult) -> tuple[bool, bool, bool, bool, float]:
        value = each.value or 0.0
        worth = -value if sweep.maximizes else value
        early = each.stopped is not None
        return each.value is None, each.state != "succeeded", each.short, early, worth

    return sorted(results, key=place)
