"""Sweeps for a terminal: how one stands, what it would run, its best jobs, a bar to its end."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from stepsize.client import Client
from stepsize.notebook import Shown, sweep_html
from stepsize.progress import in_notebook
from stepsize.report import OUTCOMES, age, notes, plain_table, put
from stepsize.sweeps import Sweep, SweepPreview, SweepResult, ranked

BEST = 10
"""Jobs that are shown at the end of a sweep."""


def is_sweep(id_: str) -> bool:
    """Whether an id is that of a sweep rather than of a job."""
    return id_.startswith("swp_")


def tally(sweep: Sweep) -> str:
    """How many of its jobs are in which state."""
    some = [f"{count:,} {state}" for state, count in sweep.counts.items() if count]
    return ", ".join(some) or "no jobs yet"


def sweep_watched(
    client: Client, sweep_id: str, *, as_json: bool, timeout: float | None = None
) -> NoReturn:
    """Follows a sweep, prints its best jobs, and exits with the code of its end."""
    try:
        last = (
            client.sweeps.wait(sweep_id, timeout=timeout)
            if as_json
            else draw(client.sweeps.watch(sweep_id, timeout=timeout))
        )
    except KeyboardInterrupt:
        notes.print(f"{sweep_id} goes on: `stepsize watch {sweep_id}` follows it again")
        raise
    if as_json:
        typer.echo(last.model_dump_json(indent=2))
    else:
        _best(client, last)
        notes.print(escape(f"{last.state}: {tally(last)}"), soft_wrap=True)
        if last.counts.get("failed"):
            why = f"`stepsize jobs --sweep {last.id} --state failed` lists what failed"
            notes.print(f"{why}, `stepsize retry {last.id}` runs it again", soft_wrap=True)
    raise typer.Exit(OUTCOMES[last.state])


def sweep_story(client: Client, sweep: Sweep, *, as_json: bool) -> None:
    """Prints how a sweep stands, and its best jobs so far."""
    if as_json:
        typer.echo(sweep.model_dump_json(indent=2))
        return
    facts = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _facts(sweep):
        facts.add_row(f"[bold]{name}[/]", escape(value))
    put(facts)
    put("")
    _best(client, sweep)


def _facts(sweep: Sweep) -> Iterator[tuple[str, str]]:
    yield "id", sweep.id
    if sweep.name:
        yield "name", sweep.name
    yield "state", sweep.state
    yield "sampler", str(sweep.spec.get("sampler", {}).get("name", ""))
    yield "objective", f"{'largest' if sweep.maximizes else 'smallest'} {sweep.metric}"
    yield "done", f"{sweep.done:,} of {sweep.promised:,} jobs: {tally(sweep)}"
    if sweep.best is not None:
        yield "best", f"{_number(sweep.best.value)} by {sweep.best.job}"
    if sweep.ending:
        yield "begins no more", sweep.ending
    yield "age", age(sweep.created_at)


def _best(client: Client, sweep: Sweep) -> None:
    best = ranked(sweep, client.sweeps.results(sweep))[:BEST]
    if any(each.value is not None for each in best):
        put(results_table(sweep, best))
    else:
        notes.print(f"no job has a {sweep.metric} yet")


def listing(sweeps: Sequence[Sweep]) -> Table:
    """Sweeps, one a line."""
    rows = [
        (
            each.id,
            each.state,
            f"{each.done:,}/{each.promised:,}",
            f"{each.metric} {_number(each.best.value)}" if each.best else "",
            age(each.created_at),
            each.name or "",
        )
        for each in sweeps
    ]
    return plain_table(("id", "state", "done", "best", "age", "name"), rows)


def results_table(sweep: Sweep, results: Sequence[SweepResult]) -> Table:
    """Configurations, one a line: the objective, what differs between them, the job."""
    pointers = _names(each.parameters for each in results)
    names = _short(pointers)
    rows = [
        (
            _number(each.value) + (" (short)" if each.short and each.value is not None else ""),
            *(_number(each.parameters.get(pointer)) for pointer in pointers),
            each.state or "deleted",
            each.job or "",
        )
        for each in results
    ]
    return plain_table((sweep.metric, *names, "state", "job"), rows)


def results_csv(results: Sequence[SweepResult]) -> str:
    """All there is about each configuration; what is no number or text is JSON."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _columns(results), restval="", lineterminator="\n")
    writer.writeheader()
    for each in results:
        row = each.row.items()
        writer.writerow({name: _plain(value) for name, value in row})
    return out.getvalue()


def preview_parts(preview: SweepPreview) -> Iterator[Table | str]:
    """What a sweep would run."""
    facts = Table(box=None, show_header=False, pad_edge=False)
    iterations = preview.iterations
    seconds = preview.seconds
    for name, value in (
        ("jobs", f"{preview.jobs:,}"),
        ("iterations", "depend on the data" if iterations is None else f"{iterations:,}"),
        (
            "computing",
            "not known before a job like these has run"
            if seconds is None
            else f"about {timedelta(seconds=max(round(seconds), 1))}",
        ),
    ):
        facts.add_row(f"[bold]{name}[/]", value)
    yield facts
    yield ""
    pointers = _names(preview.sample)
    rows = [[_number(each.get(pointer)) for pointer in pointers] for each in preview.sample]
    yield plain_table(_short(pointers), rows)
    if preview.jobs > len(preview.sample):
        yield f"... {preview.jobs - len(preview.sample):,} more"


def draw(looks: Iterable[Sweep]) -> Sweep:
    """A bar of a sweep, at each look at it; the last of them."""
    if in_notebook():
        shown = Shown()
        for now in looks:
            shown.put(sweep_html(now))
        return now
    bar = Progress(
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        TextColumn("{task.fields[told]}", table_column=Column(no_wrap=True)),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        expand=True,
    )
    task = bar.add_task("", total=None, told="")
    held = False
    try:
        for now in looks:
            name = escape(now.name or "sweep")
            bar.update(
                task,
                description=name if now.state == "running" else f"{name} [dim]{now.state}[/]",
                completed=now.done,
                total=now.promised,
                told=_told(now),
            )
            bar.start()  # not before there is a sweep to draw
            if now.paused and not held:
                again = f"{now.id} is paused: `stepsize resume {now.id}` lets it go on"
                bar.console.print(again, soft_wrap=True)
            held = now.paused
    finally:
        bar.stop()
    return now


def _told(sweep: Sweep) -> str:
    parts = [f"{sweep.done:,}/{sweep.promised:,}"]
    if sweep.counts.get("failed"):
        parts.append(f"[red]{sweep.counts['failed']:,} failed[/]")
    if sweep.best is not None:
        parts.append(f"best {_number(sweep.best.value)}")
    return "  ".join(parts)


def _names(rows: Iterable[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _columns(results: Sequence[SweepResult]) -> list[str]:
    """As the rows have them, the columns of all parameters before those of any number."""
    parameters = _names(each.parameters for each in results)
    metrics = _names(each.metrics for each in results)
    return list(dict.fromkeys(["job", "number", "state", *parameters, "value", *metrics]))


def _short(pointers: Sequence[str]) -> list[str]:
    """The last part of each, where that says which it is."""
    last = [pointer.rpartition("/")[2] for pointer in pointers]
    return [
        pointer if last.count(name) > 1 or name.isdigit() else name
        for pointer, name in zip(pointers, last, strict=True)
    ]


def _number(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(_plain(value))


def _plain(value: object) -> object:
    keep = value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))
    return value if keep else json.dumps(value)
