"""Sweeps as values: how one stands, what came of its jobs, what one would run."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from pydantic import Field

from stepsize.answers import FINISHED, Answer, Lasting
from stepsize.judgments import Importances, Pick, Ranking

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
    def of_range_tests(self) -> bool:
        """Whether its jobs are range tests, which are compared by `pick` rather than ranked."""
        return bool(self.spec.get("template", {}).get("kind") == "range_test")

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

    def ranking(self) -> Ranking:
        """Configurations, the best first, each compared with the best over its seeds."""
        return self._sweeps.ranking(self.id)

    def importance(self) -> Importances:
        """How much of how the values differ goes with each parameter, and with two together."""
        return self._sweeps.importance(self.id)

    def pick(self) -> Pick:
        """Which of the settings of a sweep of range tests to train with."""
        return self._sweeps.pick(self.id)

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
