"""Follows a job or sweep on the screen: as a bar, a live chart, or lines, as the place allows."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from stepsize.errors import ApiError, UnreachableError

if TYPE_CHECKING:
    from stepsize.client import Client
    from stepsize.sweep_values import Sweep
    from stepsize.sweeps import Sweeps
    from stepsize.values import Job

FEW = 4
"""Rows of the smallest view a server gives; the last of them is the newest of all."""

SELDOM = 10.0
"""Seconds between two lines about a job of which only the progress has changed."""


class Drawing(Protocol):
    """A place on which a job is drawn, over and over."""

    def show(self, job: Job, loss: float | None) -> None:
        """Draws it as it is now; `loss` is its newest."""

    def say(self, text: str) -> None:
        """Says something beside that."""

    def stop(self) -> None:
        """Leaves what was drawn last."""


def follow(
    client: Client,
    job: Job | str,
    *,
    timeout: float | None = None,
    console: Console | None = None,
    at_each_look: Callable[[], None] = lambda: None,
    chart: bool = False,
) -> Job:
    """Draws the job until it has finished, and returns it.

    Where it is paused, that is said, with what lets it go on, and it is waited for; where no worker
    takes it, why. With `chart` its curve is drawn too, where there is a terminal.

    Raises:
        TimeoutError: it has not finished after `timeout` seconds; it goes on regardless.
    """
    loss, seen, held, why = None, 0, False, None
    drawing = _drawing(client, console, chart=chart)
    try:
        for now in client.watch(job, timeout=timeout):
            at_each_look()
            if now.progress.iteration != seen:
                newest, seen = _newest_loss(client, now), now.progress.iteration
                loss = loss if newest is None else newest
            drawing.show(now, loss)
            if now.paused and not held:
                drawing.say(_held(now))
            held = now.paused
            if now.waiting is not None and now.waiting.why not in {"soon", why}:
                drawing.say(f"{now.id} waits: {now.waiting.detail}")
            why = now.waiting and now.waiting.why
    finally:
        drawing.stop()
    return now


def follow_sweep(sweeps: Sweeps, sweep: Sweep | str, *, timeout: float | None = None) -> Sweep:
    """Draws a sweep until it has finished, and returns it."""
    from stepsize.sweep_report import draw  # noqa: PLC0415 - which builds on this module

    return draw(sweeps.watch(sweep, timeout=timeout))


def in_notebook() -> bool:
    """Whether what is displayed ends up in a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def _drawing(client: Client, console: Console | None, *, chart: bool) -> Drawing:
    if console is None and in_notebook():
        from stepsize.notebook import Display  # noqa: PLC0415 - only where it is displayed

        return Display(client)
    console = console or Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        return Lines(console)
    if chart:
        from stepsize.live import LiveChart  # noqa: PLC0415 - numpy, only where it is drawn

        return LiveChart(client, console)
    return Bar(console)


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


class Lines:
    """Where nothing can be drawn over, in a log say: a line whenever there is something new."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = ("", 0)
        self._at = 0.0

    def show(self, job: Job, loss: float | None) -> None:
        """A line if its state has changed, or its progress a while after the last one."""
        now = (job.state, job.progress.iteration)
        late = time.monotonic() - self._at >= SELDOM
        if now[0] == self._said[0] and (now == self._said or not late):
            return
        self._said, self._at = now, time.monotonic()
        planned = "?" if job.progress.iterations is None else f"{job.progress.iterations:,}"
        told = f"{job.id} {job.state}  {now[1]:,}/{planned}"
        self.say(told if loss is None or job.finished else f"{told}  loss {loss:.4g}")

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(escape(text), soft_wrap=True)

    def stop(self) -> None:
        """Nothing is left to do."""


class Bar:
    """A line that is drawn over: state, newest loss, iterations per second, ETA."""

    def __init__(self, console: Console) -> None:
        self.progress = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            _Figures(table_column=Column(no_wrap=True)),
            console=console,
            expand=True,
        )
        self._task = self.progress.add_task("", total=None, loss=None, pace=None)

    def show(self, job: Job, loss: float | None) -> None:
        """Draws it, and nothing before there is a job."""
        self.update(job, loss)
        self.progress.start()

    def update(self, job: Job, loss: float | None) -> None:
        """What is to be drawn next."""
        done, planned = job.progress.iteration, job.progress.iterations
        self.progress.update(
            self._task,
            description=_headline(job),
            completed=done,
            # a repeat that diverges ends early: a success has not always run what was planned
            total=max(done, 1) if job.succeeded else planned,
            loss=loss,
            pace=job.pace,
        )

    def say(self, text: str) -> None:
        """Above the bar."""
        self.progress.console.print(escape(text), soft_wrap=True)

    def stop(self) -> None:
        """Leaves the bar as it is."""
        self.progress.stop()


def _headline(job: Job) -> str:
    name = escape(job.name or job.kind.replace("_", " "))
    return name if job.state == "running" else f"{name} [dim]{job.state}[/]"


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
