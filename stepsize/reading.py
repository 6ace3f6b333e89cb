"""What a client reads of what jobs record: numbers, live or later, whole or as a view."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, BinaryIO
from urllib.parse import quote

import httpx

from stepsize import events, transport
from stepsize.downloads import write_body
from stepsize.errors import StepsizeError
from stepsize.series import (
    ARROW,
    Columns,
    ColumnsAnswer,
    Series,
    SeriesAnswer,
    columns_of,
    series_of,
    series_of_arrow,
)
from stepsize.values import Figures, Job, Summary

MANY = 20_000
"""Rows from which on they are asked for as Arrow, where pyarrow is installed."""

FEW = 4
"""Rows of the smallest view."""


class Reading:
    """The half of a client that changes nothing."""

    _http: httpx.Client

    def events(
        self,
        *jobs: Job | str,
        names: str | Sequence[str] = ("loss",),
        repeat: int = 0,
        start: int = 0,
    ) -> Iterator[events.Event]:
        """Each `Job` at every change, and its rows as `Points`, until its `End`, and that of all.

        A lost connection is opened again; nothing is missed or told twice. No names: no rows.
        """
        ids = list(dict.fromkeys(job if isinstance(job, str) else job.id for job in jobs))
        return events.follow(self._http, ids, _rows(names, repeat=repeat, start=start), home=self)

    def series(
        self,
        job: Job | str,
        names: str | Sequence[str] = ("loss",),
        *,
        start: int = 0,
        stop: int | None = None,
        points: int | None = None,
        repeat: int = 0,
    ) -> Series:
        """Recorded numbers of iterations `[start, stop)`, with at most `points` rows where given.

        `val_loss` and `val_accuracy` have iterations of their own: ask for them on their own.
        Many rows travel as Arrow where pyarrow is installed. As JSON an answer carries a million at
        most; the next ones begin at its `next_start`.
        """
        path = f"{path_of(job)}/series"
        params = _rows(names, start=start, stop=stop, points=points, repeat=repeat)
        if points is None and (stop is None or stop - start > MANY) and find_spec("pyarrow"):
            view = self._send("GET", path, params=params | {"points": FEW})
            told = transport.parse(SeriesAnswer, view)
            if told.total_points > MANY:
                # asked for after the view: what that calls complete, this is
                table = self._send("GET", path, params=params, headers={"Accept": ARROW})
                return series_of_arrow(table.content, told)
        answer = self._send("GET", path, params=params)
        return series_of(transport.parse(SeriesAnswer, answer))

    def export(
        self,
        job: Job | str,
        to: BinaryIO,
        names: str | Sequence[str] = ("loss",),
        *,
        media: str = "text/csv",
        start: int = 0,
        stop: int | None = None,
        points: int | None = None,
        repeat: int = 0,
    ) -> None:
        """Writes the same numbers to a file, as the server makes them; they need not fit memory."""
        params = _rows(names, start=start, stop=stop, points=points, repeat=repeat)
        accept = {"Accept": media}
        write_body(self._http, f"{path_of(job)}/series", to, params=params, headers=accept)

    def summary(self, job: Job | str) -> list[Figures]:
        """Count, ends and extremes of every quantity recorded so far, by repeat."""
        return transport.parse(Summary, self._send("GET", f"{path_of(job)}/series/summary")).data

    def preview(
        self,
        schedule: Mapping[str, Any],
        *,
        iterations: int,
        points: int | None = None,
        iterations_per_epoch: int | None = None,
    ) -> Columns:
        """The learning rate, and momentum where it is cycled, that a schedule would give.

        A schedule that counts in epochs needs `iterations_per_epoch`.
        """
        body = {
            "schedule": dict(schedule),
            "iterations": iterations,
            "points": points,
            "iterations_per_epoch": iterations_per_epoch,
        }
        answer = self._send("POST", "/v1/schedules/preview", body=body)
        return Columns(columns_of(transport.parse(ColumnsAnswer, answer)))

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        return transport.send(self._http, method, path, **request)


def path_of(job: Job | str) -> str:
    """The address of a job.

    Raises:
        StepsizeError: it is the id of something else, which the server would not know.
    """
    id_ = job if isinstance(job, str) else job.id
    if not id_ or id_.startswith("swp_"):
        other = f"{id_} is a sweep: use client.sweeps" if id_ else "the id of a job is empty"
        raise StepsizeError(f"{other}; ids of jobs are job_..., client.jobs() lists them")
    return f"/v1/jobs/{quote(id_, safe='')}"


def _rows(names: str | Sequence[str], **query: int | None) -> dict[str, str | int | None]:
    return {"names": names if isinstance(names, str) else ",".join(names), **query}
