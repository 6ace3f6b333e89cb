"""A progress bar that follows one job: its state, newest loss, iterations per second, ETA."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from stepsize.errors import ApiError, UnreachableError

if TYPE_CHECKING:
    from stepsize.client import Client
    from stepsize.values import Job

FEW = 4
"""Rows of the smallest view a server gives; the last of them is the newest of all."""


def follow(
    client: Client,
    job: Job | str,
    *,
    timeout: float | None = None,
    console: Console | None = None,
    at_each_look: Callable[[], None] = lambda: None,
) -> Job:
    """Draws the job until it has finished, and returns it.

    Raises:
        TimeoutError: it has not finished after `timeout` seconds; it goes on regardless.
    """
    loss, seen = None, 0
    bar = _bar(console or Console(stderr=True))
    task = bar.add_task("", total=None, loss=None)
    try:
        for now in client.watch(job, timeout=timeout):
            at_each_look()
            bar.start()  # not before there is a job to draw
            done, planned = now.progress.iteration, now.progress.iterations
            if done != seen:
                newest, seen = _newest_loss(client, now), done
                loss = loss if newest is None else newest
            # a repeat that diverges ends early: a success has not always run what was planned
            total = max(done, 1) if now.succeeded else planned
            bar.update(task, description=_headline(now), completed=done, total=total, loss=loss)
    finally:
        bar.stop()
    return now


def _headline(job: Job) -> str:
    return f"{escape(job.name or job.kind.replace('_', ' '))} [dim]{job.state}[/]"


def _newest_loss(client: Client, job: Job) -> float | None:
    try:
        if job.kind == "training":
            rows = client.series(job, "loss", start=max(job.progress.iteration - 1, 0), points=FEW)
            return float(rows.loss[-1]) if len(rows) else None
        losses = [each.last for each in client.summary(job) if each.name == "loss"]
        return losses[-1] if losses else None
    except (ApiError, UnreachableError):
        return None  # the bar can do without; only the state of the job must not fail


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        _Count(),
        _Loss(),
        _Speed(),
        TextColumn("ETA"),
        TimeRemainingColumn(compact=True),
        console=console,
    )


class _Count(ProgressColumn):
    """Iterations done, of how many."""

    def render(self, task: Task) -> Text:
        total = "?" if task.total is None else f"{task.total:,.0f}"
        return Text(f"{task.completed:,.0f}/{total}", style="progress.download")


class _Loss(ProgressColumn):
    """The newest loss."""

    def render(self, task: Task) -> Text:
        loss = task.fields["loss"]
        return Text("loss -" if loss is None else f"loss {loss:.4g}")


class _Speed(ProgressColumn):
    """Iterations per second, as seen from here."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("- it/s" if speed is None else f"{speed:,.0f} it/s")
