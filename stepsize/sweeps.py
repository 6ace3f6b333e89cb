"""Sweeps: many jobs from one template, as values, and what a client does with them."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import httpx
from pydantic import Field

from stepsize import transport, watching
from stepsize.answers import FINISHED, Answer, Lasting
from stepsize.errors import StepsizeError
from stepsize.specs import read_spec

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

PAGE = 100
"""The most sweeps that the server lists at once."""


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
    def metric(self) -> str:
        """What its jobs are judged by."""
        return str(self.spec.get("objective", {}).get("metric", "val_loss"))

    @property
    def maximizes(self) -> bool:
        """Whether more of that is better."""
        return bool(self.spec.get("objective", {}).get("direction") == "maximize")

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

    def _repr_html_(self) -> str:
        from stepsize.notebook import sweep_html  # noqa: PLC0415 - only where it is displayed

        return sweep_html(self)


class SweepResult(Answer):
    """One configuration and what came of it; `value` is that of the objective.

    `short` is one of the brief first runs of `coarse_to_fine`, which longer ones do not compare to.
    """

    job: str | None
    number: int
    state: str | None
    parameters: Row
    value: float | None
    metrics: Row = Field(default_factory=dict)
    short: bool = False

    @property
    def row(self) -> Row:
        """All of it side by side; parameters are called by their pointers."""
        own = {"job": self.job, "number": self.number, "state": self.state}
        return own | self.parameters | {"value": self.value} | self.metrics


class SweepPreview(Answer):
    """What a sweep would run: jobs at most, and the first configurations.

    `iterations` and `seconds` are of all its jobs, None where they are not known.
    """

    jobs: int
    iterations: int | None = None
    seconds: float | None = None
    sample: list[Row]


class _Page(Answer):
    data: list[Sweep]
    next_cursor: str | None = None


class _Results(Answer):
    data: list[SweepResult]


class Sweeps:
    """The sweeps of a server; each may be named by its id."""

    def __init__(self, send: Callable[..., httpx.Response], *, answers_within: float) -> None:
        self._send = send
        self._answers_within = answers_within

    def submit(self, spec: Mapping[str, Any] | str | Path, *, key: str | None = None) -> Sweep:
        """Queues a sweep, given as its spec or as the path of a JSON, YAML or TOML file.

        Where the answer gets lost it is asked for again, and there is still one sweep. The same
        goes for two calls within a day that have the same `key`.
        """
        headers = transport.once(key)
        answer = self._send("POST", "/v1/sweeps", body=_body(spec), headers=headers)
        return transport.parse(Sweep, answer, home=self)

    def preview(self, spec: Mapping[str, Any] | str | Path) -> SweepPreview:
        """What that sweep would run; nothing is queued."""
        answer = self._send("POST", "/v1/sweeps/preview", body=_body(spec))
        return transport.parse(SweepPreview, answer)

    def get(self, sweep: Sweep | str) -> Sweep:
        """The sweep as it is now."""
        return transport.parse(Sweep, self._send("GET", _path(sweep)), home=self)

    def list(self, *, limit: int = 50) -> builtins.list[Sweep]:
        """The newest sweeps, at most `limit`."""
        found: list[Sweep] = []
        cursor = None
        while len(found) < limit:
            params = {"limit": min(limit - len(found), PAGE), "cursor": cursor}
            answer = self._send("GET", "/v1/sweeps", params=params)
            page = transport.parse(_Page, answer, home=self)
            found += page.data
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    def results(self, sweep: Sweep | str) -> builtins.list[SweepResult]:
        """One row a job, in the order in which they were chosen; `ranked` puts the best first."""
        return transport.parse(_Results, self._send("GET", f"{_path(sweep)}/results")).data

    def to_pandas(self, sweep: Sweep | str) -> pd.DataFrame:
        """The same rows as a data frame, a column for each parameter and number; needs pandas."""
        try:
            import pandas as pd  # noqa: PLC0415 - heavy, and only for those who ask
        except ImportError as error:
            raise StepsizeError("to_pandas needs pandas: pip install pandas") from error
        return pd.DataFrame([each.row for each in self.results(sweep)])

    def watch(self, sweep: Sweep | str, *, timeout: float | None = None) -> Iterator[Sweep]:
        """The sweep at every look until it has finished; looks come seldom if it takes long.

        Raises:
            TimeoutError: it has not finished after `timeout` seconds; it goes on regardless.
        """

        def look(headers: Mapping[str, str]) -> httpx.Response:
            return self._send("GET", _path(sweep), headers=headers)

        within = self._answers_within
        yield from watching.watch(Sweep, look, timeout=timeout, answers_within=within, home=self)

    def wait(
        self, sweep: Sweep | str, *, progress: bool = False, timeout: float | None = None
    ) -> Sweep:
        """The sweep once it has finished, whatever its end; with `progress`, draws a bar."""
        if progress:
            from stepsize.progress import follow_sweep  # noqa: PLC0415 - rich, where it is drawn

            return follow_sweep(self, sweep, timeout=timeout)
        *_, last = self.watch(sweep, timeout=timeout)
        return last

    def cancel(self, sweep: Sweep | str) -> Sweep:
        """Cancels every job that waits, asks running ones to stop, and begins no more."""
        return self._move(sweep, "cancel")

    def pause(self, sweep: Sweep | str) -> Sweep:
        """Pauses every job that has not ended, and begins no more for now."""
        return self._move(sweep, "pause")

    def resume(self, sweep: Sweep | str) -> Sweep:
        """Lets a paused sweep go on, each job from its checkpoint."""
        return self._move(sweep, "resume")

    def retry(self, sweep: Sweep | str) -> Sweep:
        """Queues the failed jobs again, and those only."""
        return self._move(sweep, "retry")

    def _move(self, sweep: Sweep | str, verb: str) -> Sweep:
        return transport.parse(Sweep, self._send("POST", f"{_path(sweep)}/{verb}"), home=self)


def ranked(sweep: Sweep, results: list[SweepResult]) -> list[SweepResult]:
    """The best first; after them short runs, jobs that did not succeed, those without a value."""

    def place(each: SweepResult) -> tuple[bool, bool, bool, float]:
        value = each.value or 0.0
        worth = -value if sweep.maximizes else value
        return each.value is None, each.state != "succeeded", each.short, worth

    return sorted(results, key=place)


def _body(spec: Mapping[str, Any] | str | Path) -> Row:
    return read_spec(spec) if isinstance(spec, str | Path) else dict(spec)


def _path(sweep: Sweep | str) -> str:
    return f"/v1/sweeps/{quote(sweep if isinstance(sweep, str) else sweep.id, safe='')}"
