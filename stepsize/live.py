"""A job as a live chart in the terminal, drawn anew as it goes on and as the window changes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live

from stepsize.braille import COLORS, Chart, Curve, with_ghosts
from stepsize.errors import ApiError, UnreachableError
from stepsize.limits import loss_limits
from stepsize.progress import Bar

if TYPE_CHECKING:
    from stepsize.client import Client
    from stepsize.values import Job

POINTS = 600
"""Rows of a view: more than a wide terminal has dots across."""

OFTEN = 0.5
"""Seconds between two looks at the series, at least."""

TALLEST, SMALLEST = 22, 6
RATE = 5
"""Lines of the chart of the learning rate, where there is room."""


class LiveChart:
    """The loss, and the learning rate of a training, above the bar."""

    def __init__(self, client: Client, console: Console) -> None:
        self._client = client
        self._bar = Bar(console)
        self._console = console
        self._job: Job | None = None
        self._curves: dict[str, Curve] = {}
        self._looked = 0.0
        self._live = Live(self, console=console, auto_refresh=True, vertical_overflow="crop")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Group(*self._parts(min(console.size.height - 3, TALLEST)), self._bar.progress)

    def show(self, job: Job, loss: float | None) -> None:
        """Draws it as it is now, with what it has recorded."""
        self._job = job
        self._bar.update(job, loss)
        if job.finished or time.monotonic() - self._looked >= OFTEN:
            self._looked = time.monotonic()
            self._read(job)
        self._live.start()
        self._live.refresh()

    def say(self, text: str) -> None:
        """Above all of it."""
        self._bar.say(text)

    def stop(self) -> None:
        """Leaves the chart as it is."""
        self._live.stop()

    def _read(self, job: Job) -> None:
        try:
            if job.kind == "range_test":
                for repeat in range(self._repeats(job)):
                    series = self._client.series(job, ("loss", "lr"), points=POINTS, repeat=repeat)
                    color = COLORS[repeat % len(COLORS)]
                    self._curves[f"repeat {repeat}"] = Curve(series.lr, series.loss, color)
                return
            series = self._client.series(job, ("loss", "lr"), points=POINTS)
            self._curves["loss"] = Curve(series.iteration, series.loss, "cyan")
            self._curves["lr"] = Curve(series.iteration, series.lr, "green")
            if job.spec.get("evaluate"):
                checked = self._client.series(job, "val_loss", points=POINTS)
                self._curves["val"] = Curve(checked.iteration, checked.val_loss, "yellow")
        except (ApiError, UnreachableError):
            return  # what was drawn last stays; the bar says how the job is

    def _repeats(self, job: Job) -> int:
        """How many runs of a range test have begun."""
        return 1 + max((each.repeat for each in self._client.summary(job)), default=-1)

    def _parts(self, height: int) -> list[RenderableType]:
        import numpy as np  # noqa: PLC0415 - heavy, and many commands draw nothing

        rate = self._curves.get("lr")
        losses = [
            curve
            for name, curve in self._curves.items()
            if name != "lr" and np.isfinite(curve.y).any()
        ]
        if self._job is None or not losses or height < SMALLEST:
            return []
        tested = self._job.kind == "range_test"
        low, high = loss_limits([curve.y for curve in losses])
        shows_rate = rate is not None and len(rate.y) and height >= 2 * SMALLEST + RATE - 1
        suggestion = (self._job.result or {}).get("suggestion") or {}
        bounds = [suggestion.get("base_lr"), suggestion.get("max_lr")]
        title = "loss by learning rate" if tested else "loss"
        if "val" in self._curves and len(self._curves["val"].y):
            title += " (yellow: validation)"
        chart = Chart(
            with_ghosts(losses, (low, high)),
            height=height - RATE if shows_rate else height,
            limits=(low, high),
            title=title,
            log_x=tested and self._job.spec.get("range", {}).get("ramp") != "linear",
            marks=[(bound, "bold green") for bound in bounds if tested and bound],
        )
        if not shows_rate or rate is None:
            return [chart]
        top = float(np.nanmax(rate.y))
        return [chart, Chart([rate], height=RATE, limits=(0.0, top or 1.0), title="learning rate")]
