"""What a client does with sweeps: many jobs from one template."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import quote

import httpx

from stepsize import transport, watching
from stepsize.answers import Answer
from stepsize.errors import StepsizeError
from stepsize.judgments import Importances, Judgment, Marginals, Pair, Pick, Ranking
from stepsize.series import needed
from stepsize.specs import spec_of
from stepsize.sweep_values import Row, Sweep, SweepPreview, SweepResult

if TYPE_CHECKING:
    import pandas as pd

RATES = ("base_lr", "max_lr", "fixed_lr")

PAGE = 100
"""The most sweeps that the server lists at once."""

ROWS = 1000
"""Results that are asked for at once."""

Told = TypeVar("Told", bound=Judgment)


class _Page(Answer):
    data: list[Sweep]
    next_cursor: str | None = None


class _Results(Answer):
    data: list[SweepResult]
    next_cursor: str | None = None


class Sweeps:
    """The sweeps of a server; each may be named by its id."""

    def __init__(self, send: Callable[..., httpx.Response], *, answers_within: float) -> None:
        self._send = send
        self._answers_within = answers_within

    def submit(self, spec: Mapping[str, Any] | str | Path, *, key: str | None = None) -> Sweep:
        """Queues a sweep or a recipe, given as its spec or as the path of a file that holds it.

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

    def rates(self, sweep: Sweep | str) -> dict[str, float] | None:
        """The learning rates that the range test of a recipe suggests; None before it has."""
        params = {"sweep": _id(sweep), "tag": "step:range_test"}
        found = self._send("GET", "/v1/jobs", params=params).json()["data"]
        suggestion = (found[0]["result"] or {}).get("suggestion") if found else None
        return suggestion and {name: suggestion[name] for name in RATES}

    def results(self, sweep: Sweep | str) -> builtins.list[SweepResult]:
        """One row a job, in the order in which they were chosen; `ranked` puts the best first."""
        found: builtins.list[SweepResult] = []
        cursor = None
        while True:
            params = {"limit": ROWS, "cursor": cursor}
            answer = self._send("GET", f"{_path(sweep)}/results", params=params)
            page = transport.parse(_Results, answer)
            found += page.data
            cursor = page.next_cursor
            if cursor is None:
                return found

    def to_pandas(self, sweep: Sweep | str) -> pd.DataFrame:
        """The same rows as a data frame, a column for each parameter and number; needs pandas."""
        rows = [each.row for each in self.results(sweep)]
        frame: pd.DataFrame = needed("pandas", "to_pandas").DataFrame(rows)
        return frame

    def ranking(
        self,
        sweep: Sweep | str,
        *,
        repeated: Sequence[str] = ("/seed",),
        limit: int | None = None,
    ) -> Ranking:
        """Configurations, the best first: trials that differ only in `repeated` are one.

        Each is compared with the best over the seeds that both have.
        """
        return self._judged(Ranking, sweep, "ranking", repeated=list(repeated), limit=limit)

    def importance(
        self, sweep: Sweep | str, *, by: Literal["rank", "value"] = "rank"
    ) -> Importances:
        """How much of how the values differ goes with each parameter, and with two together.

        By "value" what diverged is left out, and one loss of a million is all there is.
        """
        return self._judged(Importances, sweep, "importance", by=by)

    def marginals(self, sweep: Sweep | str, *parameters: str) -> Marginals:
        """What the values are along these parameters (JSON pointers), or along each."""
        return self._judged(Marginals, sweep, "marginals", parameter=list(parameters))

    def pairs(self, sweep: Sweep | str, x: str, y: str) -> Pair:
        """What the values are along two parameters."""
        return self._judged(Pair, sweep, "pairs", x=x, y=y)

    def pick(self, sweep: Sweep | str, *, repeated: Sequence[str] = ("/seed",)) -> Pick:
        """Which of the settings of a sweep of range tests to train with."""
        return self._judged(Pick, sweep, "pick", repeated=list(repeated))

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

    def _judged(self, answer: type[Told], sweep: Sweep | str, what: str, **params: object) -> Told:
        told = self._send("GET", f"{_path(sweep)}/{what}", params=params)
        return transport.parse(answer, told)

    def _move(self, sweep: Sweep | str, verb: str) -> Sweep:
        return transport.parse(Sweep, self._send("POST", f"{_path(sweep)}/{verb}"), home=self)


def _body(spec: Mapping[str, Any] | str | Path) -> Row:
    body = spec_of(spec)
    if "template" not in body and body.get("kind") in {"range_test", "training"}:
        raise StepsizeError(
            f"this is one {body['kind']}: `stepsize submit` queues it, or client.submit; in a sweep"
            " it is the `template`, beside a `space`"
        )
    return body


def _id(sweep: Sweep | str) -> str:
    return sweep if isinstance(sweep, str) else sweep.id


def _path(sweep: Sweep | str) -> str:
    id_ = _id(sweep)
    if not id_ or id_.startswith("job_"):
        other = f"{id_} is a job: use client.job" if id_ else "the id of a sweep is empty"
        raise StepsizeError(f"{other}; ids of sweeps are swp_..., client.sweeps.list() has them")
    return f"/v1/sweeps/{quote(id_, safe='')}"
