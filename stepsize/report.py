"""Jobs and their results as text for a terminal, and as exit codes."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stepsize.values import STATUSES, Job

OUTCOMES = {"succeeded": 0, "failed": 1, "cancelled": 3}
"""Exit code by the state a job ended in."""

UNCUT = 400

output = Console(highlight=False)
"""What was asked for."""

notes = Console(stderr=True, highlight=False)
"""What is only said along the way."""


def end(job: Job, *, as_json: bool) -> NoReturn:
    """Prints how the job ended, and exits with the code of its state."""
    if as_json:
        typer.echo(job.model_dump_json(indent=2))
    else:
        output.print(outcome(job))
    raise typer.Exit(OUTCOMES[job.state])


def outcome(job: Job) -> Table | str:
    """The end of a job: why it failed, or the result of its kind."""
    if job.error is not None and job.state == "failed":
        return f"[red]failed[/] ({escape(job.error.reason)}): {escape(job.error.detail)}"
    if job.result is None:
        return f"{job.id} was {job.state} after {job.progress.iteration:,} iterations"
    table = Table(box=None, show_header=False, pad_edge=False)
    rows = _range_test(job) if job.kind == "range_test" else _training(job.result)
    for name, value in [*rows, ("done", pace(job))]:
        table.add_row(f"[bold]{name}[/]", escape(value))
    return table


def costs(
    iterations: int | None, seconds: float | None, *, at_most: bool, jobs: int | None = None
) -> Table:
    """What something would cost that has not been queued."""
    table = Table(box=None, show_header=False, pad_edge=False)
    most = "at most " if at_most else ""
    rows = [] if jobs is None else [("jobs", f"{jobs:,}")]
    many = "depend on the data" if iterations is None else f"{most}{iterations:,}"
    long = "not known before a job like these has run"
    if seconds is not None:
        long = f"{most or 'about '}{spent(seconds)}"
    for name, value in [*rows, ("iterations", many), ("computing", long)]:
        table.add_row(f"[bold]{name}[/]", value)
    return table


def spent(seconds: float) -> str:
    """Hours, minutes and seconds, one at least."""
    return str(timedelta(seconds=max(round(seconds), 1)))


def _range_test(job: Job) -> list[tuple[str, str]]:
    result = job.result or {}
    status = str(result.get("status"))
    agreement = f", agreement {result['agreement']}" if result.get("agreement") else ""
    rows = [("status", f"{status}{agreement}")]
    if status != "ok":
        rows = [("status", f"{status}: {STATUSES.get(status, 'no suggestion')}")]
    if result.get("advice"):
        rows.append(("advice", result["advice"]))
    if result.get("suggestion"):
        rows += _suggestion(job)
    rows += _second_opinions(result)
    if (result.get("range") or {}).get("extended"):
        rows.append(("extended", f"the ramp went on to {result['range']['end']:.3g}"))
    return rows


def _suggestion(job: Job) -> list[tuple[str, str]]:
    best = job.suggestion
    low, high = ((job.result or {}).get("interval") or {}).get("max_lr") or (None, None)
    spread = "" if low is None else f"  (between {low:.3g} and {high:.3g})"
    rows = [("base_lr", f"{best.base_lr:.3g}"), ("max_lr", f"{best.max_lr:.3g}{spread}")]
    if best.fixed_lr is not None:
        rows.append(("fixed_lr", f"{best.fixed_lr:.3g}"))
    return [*rows, ("use it", f'"max_lr": {{"range_test": "{job.id}"}}')]


def _second_opinions(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the checks and the accuracy put the limit, beside the edge."""
    rows = []
    checks = result.get("checks") or {}
    if checks:
        edge = (result.get("landmarks") or {}).get("lr_edge")
        bounds = {"edge": edge, **{name: found.get("lr") for name, found in checks.items()}}
        said = (
            f"{name.replace('_', ' ')} {'-' if lr is None else f'{lr:.3g}'}"
            for name, lr in bounds.items()
        )
        rows.append(("limits", ", ".join(said)))
    accuracy = result.get("accuracy") or {}
    if accuracy.get("base_lr") is not None and accuracy.get("max_lr") is not None:
        rise = f"rises from {accuracy['base_lr']:.3g} to {accuracy['max_lr']:.3g}"
        rows.append(("accuracy", rise))
    return rows


def _training(result: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    if result.get("val_accuracy") is not None:
        rows.append(("validation accuracy", f"{result['val_accuracy']:.2%}"))
    losses = {name: result.get(name) for name in ("val_loss", "train_loss")}
    rows += [(name, f"{loss:.4g}") for name, loss in losses.items() if loss is not None]
    if result.get("diverged_at") is not None:
        rows.append(("diverged", f"at iteration {result['diverged_at']:,}"))
    if result.get("stopped") is not None:
        rows.append(("stopped early", result["stopped"]["why"].removeprefix("stopped ")))
    return rows


def pace(job: Job) -> str:
    """How many iterations a finished job made, and how fast."""
    iterations = (job.result or {}).get("iterations", 0)
    if job.pace is None:
        return f"{iterations:,} iterations"
    return f"{iterations:,} iterations in {iterations / job.pace:.1f} s ({job.pace:,.0f} it/s)"


def listing(jobs: list[Job]) -> Table:
    """Jobs, one a line; of a long line only the name is cut."""
    rows = [
        (job.id, job.kind, job.state, _share(job), age(job.created_at), escape(job.name or ""))
        for job in jobs
    ]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, title in enumerate(("id", "kind", "state", "done", "age")):
        width = max(len(row[column]) for row in [*rows, [title] * 5])
        table.add_column(title, no_wrap=True, min_width=width)
    table.add_column("name", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _share(job: Job) -> str:
    if not job.progress.iterations:
        return ""
    return f"{job.progress.iteration / job.progress.iterations:.0%}"


def age(since: datetime | None, until: datetime | None = None) -> str:
    """The time that has passed, in its largest unit; until now, or until then."""
    if since is None:
        return ""
    seconds = ((until or datetime.now(UTC)) - since).total_seconds()
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"


def put(part: Table | str) -> None:
    """Prints text that is not cut where it goes to a file or a pipe, which have no width."""
    console = output if output.is_terminal else Console(highlight=False, width=UNCUT)
    console.print(part)


def plain_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Text in columns; a long line goes on below rather than being cut."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table
