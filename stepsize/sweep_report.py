"""Sweeps for a terminal: how one stands, what it would run, its best jobs, a bar to its end."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NoReturn

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from stepsize.client import Client
from stepsize.columns import as_csv, names, number, short
from stepsize.errors import ApiError
from stepsize.judgment_report import pick_parts, ranking_parts
from stepsize.notebook import Shown, sweep_html
from stepsize.progress import in_notebook
from stepsize.report import OUTCOMES, age, costs, notes, plain_table, put, spent
from stepsize.sweep_values import Step, Sweep, SweepPreview, SweepResult

BEST = 10
"""Configurations that are shown at the end of a sweep."""


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
        if last.spent:
            notes.print(escape(f"it ended here because {last.spent}"), soft_wrap=True)
        elif last.state == "failed" and last.ending:
            notes.print(escape(last.ending), soft_wrap=True)
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
    if sweep.is_recipe:
        schedules = [str(each.get("policy")) for each in sweep.spec["schedules"]]
        seeds = ", ".join(map(str, sweep.spec["seeds"]))
        yield "learning rates", f"found by {sweep.spec['find']['name']}"
        yield "compares", f"{', '.join(schedules)}, each with seeds {seeds}"
    else:
        yield "sampler", str(sweep.spec.get("sampler", {}).get("name", ""))
    yield "objective", f"{'largest' if sweep.maximizes else 'smallest'} {sweep.metric}"
    yield "done", f"{sweep.done:,} of {sweep.promised:,} jobs: {tally(sweep)}"
    if sweep.best is not None:
        yield "best job", f"{number(sweep.best.value)} by {sweep.best.job}"
    if sweep.spent or sweep.ending:
        yield "begins no more", sweep.spent or sweep.ending or ""
    yield "age", age(sweep.created_at)


def _best(client: Client, sweep: Sweep) -> None:
    """Prints the best so far; of all the jobs only these are asked for."""
    try:
        if sweep.of_range_tests:
            parts = list(pick_parts(client.sweeps.pick(sweep)))
        else:
            parts = list(ranking_parts(client.sweeps.ranking(sweep, limit=BEST), sweep.id))
    except ApiError as error:
        if error.status != httpx.codes.CONFLICT:
            raise
        notes.print(escape(error.detail), soft_wrap=True)
        return
    for part in parts:
        put(part)


def listing(sweeps: Sequence[Sweep]) -> Table:
    """Sweeps, one a line."""
    rows = [
        (
            each.id,
            each.state,
            f"{each.done:,}/{each.promised:,}",
            f"{each.metric} {number(each.best.value)}" if each.best else "",
            age(each.created_at),
            each.name or "",
        )
        for each in sweeps
    ]
    return plain_table(("id", "state", "done", "best job", "age", "name"), rows)


def results_table(sweep: Sweep, results: Sequence[SweepResult]) -> Table:
    """Configurations, one a line: the objective, what differs between them, the job."""
    pointers = names(each.parameters for each in results)
    titles = short(pointers)
    rows = [
        (
            number(each.value) + (" (short)" if each.short and each.value is not None else ""),
            *(number(each.parameters.get(pointer)) for pointer in pointers),
            "stopped early" if each.stopped else each.state or "deleted",
            each.job or "",
        )
        for each in results
    ]
    return plain_table((sweep.metric, *titles, "state", "job"), rows)


def results_csv(results: Sequence[SweepResult]) -> str:
    """All there is about each configuration, the columns of parameters before those of numbers."""
    parameters = names(each.parameters for each in results)
    metrics = names(each.metrics for each in results)
    titles = ["job", "number", "state", "stopped", *parameters, "value", *metrics]
    return as_csv([each.row for each in results], list(dict.fromkeys(titles)))


def preview_parts(preview: SweepPreview) -> Iterator[Table | str]:
    """What a sweep would run."""
    yield costs(preview.iterations, preview.seconds, at_most=preview.at_most, jobs=preview.jobs)
    yield ""
    if preview.steps is not None:
        yield _steps(preview.steps)
        yield ""
    pointers = names(preview.sample)
    rows = [[number(each.get(pointer)) for pointer in pointers] for each in preview.sample]
    yield plain_table(short(pointers), rows)
    if preview.jobs > len(preview.sample):
        yield f"... {preview.jobs - len(preview.sample):,} more"


def _steps(steps: Sequence[Step]) -> Table:
    rows = [
        (
            each.name,
            f"{each.jobs:,}",
            "" if each.iterations is None else f"{each.iterations:,}",
            "" if each.seconds is None else spent(each.seconds),
        )
        for each in steps
    ]
    return plain_table(("step", "jobs", "iterations", "computing"), rows)


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
    rates: dict[str, float] | None = None
    try:
        for now in looks:
            name = escape(now.name or ("recipe" if now.is_recipe else "sweep"))
            bar.update(
                task,
                description=name if now.state == "running" else f"{name} [dim]{now.state}[/]",
                completed=now.done,
                total=now.promised,
                told=_told(now),
            )
            bar.start()  # not before there is a sweep to draw
            if now.is_recipe and not rates and now.done:
                rates = now.rates()
                if rates:
                    found = ", ".join(f"{each} {number(lr)}" for each, lr in rates.items())
                    bar.console.print(f"range test: {found}", soft_wrap=True)
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
        parts.append(f"best job {number(sweep.best.value)}")
    return "  ".join(parts)
