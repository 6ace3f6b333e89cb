"""What a notebook shows of jobs, sweeps and series: small tables with a curve, and live bars."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any

from stepsize.errors import StepsizeError
from stepsize.limits import loss_limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stepsize.client import Client
    from stepsize.comparing import Comparison
    from stepsize.series import Columns
    from stepsize.sweep_values import Sweep
    from stepsize.values import Job

POINTS = 300
WIDTH, HEIGHT = 360, 90
OFTEN = 0.5
"""Seconds between two looks at the series of a job that is drawn live, at least."""

COLUMNS = 8
"""Of a series, so many columns have a curve at most."""

BAR = (
    '<div style="width:{width}px;height:6px;background:rgba(127,127,127,.25);margin:4px 0">'
    '<div style="width:{share:.1f}%;height:6px;background:#0072B2"></div></div>'
)


def job_html(job: Job) -> str:
    """What it is, how far it is, what came out, and its curve where its client can be asked."""
    facts = {
        "job": job.id,
        "name": job.name or "",
        "kind": job.kind.replace("_", " "),
        "state": job.state,
        "done": f"{job.progress.iteration:,} of {_or_unknown(job.progress.iterations)} iterations",
        "why": f"{job.error.reason}: {job.error.detail}" if job.error else "",
        **{name: f"{value:.4g}" for name, value in _figures(job).items()},
    }
    share = 100 * job.progress.iteration / (job.progress.iterations or 1)
    bar = "" if job.finished else BAR.format(width=WIDTH, share=min(share, 100))
    return table([(name, value) for name, value in facts.items() if value]) + bar + _curve_of(job)


def sweep_html(sweep: Sweep) -> str:
    """How a sweep stands."""
    counts = ", ".join(f"{count:,} {state}" for state, count in sweep.counts.items() if count)
    rows = [
        ("sweep", sweep.id),
        ("name", sweep.name or ""),
        ("state", sweep.state),
        ("done", f"{sweep.done:,} of {sweep.promised:,} jobs" + (f": {counts}" if counts else "")),
        ("ended", f"because {sweep.spent}" if sweep.spent else ""),
    ]
    if sweep.best is not None:
        rows.append((f"best {sweep.metric}", f"{sweep.best.value:.4g} by {sweep.best.job}"))
        rows += [(name, _text(value)) for name, value in sweep.best.parameters.items()]
    bar = BAR.format(width=WIDTH, share=100 * sweep.done / max(sweep.promised, 1))
    return table([row for row in rows if row[1]]) + ("" if sweep.finished else bar)


def columns_html(columns: Columns) -> str:
    """How many rows there are, and a curve of each column over the first one."""
    names = [name for name in columns.columns if name != "iteration"]
    parts = [f"<p>{len(columns):,} rows: {escape(', '.join(columns.columns))}</p>"]
    for name in names[:COLUMNS]:
        x, y = columns.columns.get("iteration", columns[name]), columns[name]
        step = max(len(y) // POINTS, 1)
        parts.append(f"<div>{escape(name)}</div>{curve_svg(x[::step], y[::step])}")
    return "".join(parts)


def comparison_html(comparison: Comparison) -> str:
    """The settings that differ and the results, a row for each job."""
    rows = comparison.rows
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_text(value))}</td>" for value in row.values()) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values, escaped."""
    lines = (
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f"<table>{''.join(lines)}</table>"


def curve_svg(x: NDArray[Any], y: NDArray[Any], *, log_x: bool = False) -> str:
    """A curve in the colour of the text around it; where it is not finite it has gaps."""
    import numpy as np  # noqa: PLC0415 - heavy, and many commands need no array

    if log_x:
        x = np.log10(np.where(x > 0, x, np.nan))
    whole = np.isfinite(x) & np.isfinite(y)
    if not whole.any():
        return ""
    low, high = loss_limits([y])
    left, right = float(x[whole].min()), float(x[whole].max())
    across = (x - left) / ((right - left) or 1.0) * WIDTH
    down = np.clip((high - y) / ((high - low) or 1.0), 0, 1) * HEIGHT
    path, joined = [], False
    for i in range(len(y)):
        if whole[i]:
            path.append(f"{'L' if joined else 'M'}{across[i]:.1f} {down[i]:.1f}")
        joined = bool(whole[i])
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-label="from {y[whole][0]:.3g} to {y[whole][-1]:.3g}">'
        f'<path d="{"".join(path)}" fill="none" stroke="currentColor" stroke-width="1.2"/></svg>'
    )


class Display:
    """A job in the output of a cell, replaced as it goes on."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._shown = Shown()
        self._curve, self._looked = "", 0.0

    def show(self, job: Job, loss: float | None) -> None:
        """Draws it as it is now."""
        if job.finished or time.monotonic() - self._looked >= OFTEN:
            self._looked = time.monotonic()
            self._curve = _curve_of(job) or self._curve
        planned = job.progress.iterations
        done = f"{job.progress.iteration:,} of {_or_unknown(planned)}"
        told = f"{job.name or job.kind} · {job.state} · {done}"
        if loss is not None and not job.finished:
            told += f" · loss {loss:.4g}"
        share = 100.0 if job.succeeded else 100 * job.progress.iteration / (planned or 1)
        bar = BAR.format(width=WIDTH, share=min(share, 100))
        self._shown.put(f"<div>{escape(told)}</div>{bar}{self._curve}")

    def say(self, text: str) -> None:
        """Below it."""
        print(text)  # noqa: T201 - which is what a cell shows

    def stop(self) -> None:
        """Leaves it as it is."""


class Shown:
    """One place in the output of a cell."""

    def __init__(self) -> None:
        self._ipython = import_module("IPython.display")
        self._handle: Any = None

    def put(self, html: str) -> None:
        """Replaces what was there."""
        if self._handle is None:
            self._handle = self._ipython.display(self._ipython.HTML(html), display_id=True)
        else:
            self._handle.update(self._ipython.HTML(html))


def _curve_of(job: Job) -> str:
    """The curve of a job; of a range test that of its first repeat, by learning rate."""
    if not job.progress.iteration:
        return ""
    tested = job.kind == "range_test"
    try:
        series = job.series(("loss", "lr"), points=POINTS)
    except StepsizeError:
        return ""  # the rest is worth showing where nobody answers
    ramp: Mapping[str, Any] = job.spec.get("range", {})
    log = tested and ramp.get("ramp") != "linear"
    return curve_svg(series.lr if tested else series.iteration, series.loss, log_x=log)


def _figures(job: Job) -> dict[str, float]:
    result = job.result or {}
    found = {name: result.get(name) for name in ("val_accuracy", "val_loss", "train_loss")}
    suggestion = result.get("suggestion") or {}
    found |= {name: suggestion.get(name) for name in ("base_lr", "max_lr", "fixed_lr")}
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def _or_unknown(planned: int | None) -> str:
    return "?" if planned is None else f"{planned:,}"


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return str(value)
