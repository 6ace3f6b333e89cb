"""A progress bar that follows one job: its state, newest loss, iterations per second, ETA."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
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

    Where it is paused, that is said, with what lets it go on, and it is waited for.

    Raises:
        TimeoutError: it has not finished after `timeout` seconds; it goes on regardless.
    """
    loss, seen, held = None, 0, False
    bar = _bar(console or Console(stderr=True))
    task = bar.add_task("", total=None, loss=None, pace=None)
    try:
        for now in client.watch(job, timeout=timeout):
            at_each_look()
            done, planned = now.progress.iteration, now.progress.iterations
            if done != seen:
                newest, seen = _newest_loss(client, now), done
                loss = loss if newest is None else newest
            # a repeat that diverges ends early: a success has not always run what was planned
            total = max(done, 1) if now.succeeded else planned
            bar.update(
                task,
                description=_headline(now),
                completed=done,
                total=total,
                loss=loss,
                pace=now.pace,
            )
            bar.start()  # not before there is a job to draw
            if now.paused and not held:
                bar.console.print(_held(now), soft_wrap=True)
            held = now.paused
    finally:
        bar.stop()
    return now


def _headline(job: Job) -> str:
    name = escape(job.name or job.kind.replace("_", " "))
    return name if job.state == "running" else f"{name} [dim]{job.state}[/]"


def _held(job: Job) -> str:
    return (
        f"{job.id} is paused at iteration {job.progress.iteration:,}:"
        f" `stepsize resume {job.id}` lets it go on"
    )


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
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        _Figures(table_column=Column(no_wrap=True)),
        console=console,
        expand=True,
    )


class _Figures(ProgressColumn):
    """Iterations done and planned, newest loss, iterations per second, ETA."""

    def render(self, task: Task) -> Text:
        planned = "?" if task.total is None else f"{task.total:,.0f}"
        parts = [f"{task.completed:,.0f}/{planned}"]
        # the end of a range test is where it diverged: its loss would only alarm
        if task.fields["loss"] is not None and not task.finished:
            parts.append(f"loss {task.fields['loss']:.3g}")
        speed = task.fields["pace"] or task.speed  # the engine's own, or as seen from here
        if speed is not None:
            parts.append(f"{speed:,.0f} it/s")
        if task.time_remaining is not None and not task.finished:
            parts.append(f"ETA {timedelta(seconds=round(task.time_remaining))}")
        return Text("  ".join(parts), style="progress.download")
