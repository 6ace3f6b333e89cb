"""The commands that look at several jobs at once, or at one in the browser."""

import json
import os
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from stepsize.braille import COLORS, Chart, Curve, with_ghosts
from stepsize.client import Client
from stepsize.comparing import Along, Comparison, short
from stepsize.errors import StepsizeError
from stepsize.following import PANEL, AsJson, any_ids
from stepsize.limits import loss_limits
from stepsize.report import notes, output, plain_table, put
from stepsize.sweep_report import is_sweep

app = typer.Typer()

MOST = 50
"""Jobs side by side: more are no longer told apart, and would be as many requests."""

HEIGHT = 18
"""Lines of a chart."""

Ids = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...",
        help="Jobs, or sweeps for all jobs of them.",
        show_default=False,
        autocompletion=any_ids,
    ),
]


@app.command(rich_help_panel=PANEL)
def compare(
    ids: Ids,
    *,
    name: Annotated[str, typer.Option("--series", help="Which series is drawn.")] = "loss",
    along: Annotated[
        Literal["iteration", "epoch", "time"], typer.Option(help="What trainings are aligned by.")
    ] = "iteration",
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="PNG", help="Draw the curves into a file.")
    ] = None,
    chart: Annotated[bool, typer.Option(help="Draw the curves here, in a terminal.")] = True,
    as_json: AsJson = False,
) -> None:
    """Compare jobs: the settings that differ, what came of each, and their curves.

    Example: [bold]stepsize compare job_1 job_2 --along epoch --plot both.png[/]
    """
    with Client() as client:
        compared = client.compare(jobs_of(client, ids))
        if plot is not None:
            compared.plot(plot, name=name, along=along)
            notes.print(f"drawn into {escape(str(plot))}", soft_wrap=True)
        if as_json:
            typer.echo(json.dumps(compared.rows, indent=2))
            return
        colored = chart and output.is_terminal
        for part in [_chart(compared, name, along)] if colored else []:
            output.print(part)
    _table(compared, colored=colored)


def jobs_of(client: Client, ids: Sequence[str]) -> list[str]:
    """The ids of jobs, with those of a sweep in its place, each once.

    Raises:
        StepsizeError: there are too many, or none.
    """
    found: list[str] = []
    for each in ids:
        sweep = client.jobs(sweep=each, limit=MOST + 1) if is_sweep(each) else []
        found += [job.id for job in reversed(sweep)] if is_sweep(each) else [each]
    found = list(dict.fromkeys(found))
    if not found:
        raise StepsizeError(f"{', '.join(ids)} has no jobs yet")
    if len(found) > MOST:
        raise StepsizeError(
            f"more than {MOST} jobs are too many: `stepsize sweep-results` ranks those of a sweep"
        )
    return found


def _chart(compared: Comparison, name: str, along: Along) -> Chart | str:
    drawn = [
        Curve(x, y, COLORS[index % len(COLORS)])
        for index, (x, y) in enumerate(compared.curves(name, along=along, points=600))
    ]
    drawn = [curve for curve in drawn if len(curve.y)]
    if not drawn:
        return f"none of these jobs has recorded a {escape(name)}"
    tests = compared.are_range_tests
    title = f"{name} by {'learning rate' if tests else along}"
    limits = loss_limits([curve.y for curve in drawn])
    return Chart(with_ghosts(drawn, limits), height=HEIGHT, limits=limits, title=title, log_x=tests)


def _table(compared: Comparison, *, colored: bool) -> None:
    """A column for each job where there are few, so that long pointers have room."""
    facts = compared.rows
    names = [name for name in facts[0] if any(row[name] is not None for row in facts)]
    wide = len(facts) > len(COLORS)
    if wide:
        rows = [[_told(row[name]) for name in names] for row in facts]
        put(plain_table(names, rows))
        return
    table = plain_table(("", *(str(i + 1) for i in range(len(facts)))), [])
    for column, color in zip(table.columns[1:], COLORS, strict=False):
        column.header_style = color if colored else ""
    for name in names:
        table.add_row(f"[bold]{escape(name)}[/]", *(escape(_told(row[name])) for row in facts))
    put(table)


def _told(value: object) -> str:
    return "" if value is None else short(value)


@app.command("open", rich_help_panel=PANEL)
def open_(
    job: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="Of a job, its page.", autocompletion=any_ids),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Open the dashboard in the browser, and print its address.

    Where there is no browser the address alone is printed, to be opened elsewhere.

    Example: [bold]stepsize open job_...[/]
    """
    with Client() as client:
        if job is not None:
            _ = client.sweeps.get(job) if is_sweep(job) else client.job(job)
        elif not client.ready():
            client.jobs(limit=1)  # says what is wrong
        url = client.dashboard(job)
    if as_json:
        typer.echo(json.dumps({"url": url}))
        return
    typer.echo(url)
    if not opened(url):
        notes.print("no browser here: open the address in one")


def opened(url: str) -> bool:
    """Whether a browser took it; one in this terminal would take the terminal."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    waits = type(browser) is webbrowser.GenericBrowser  # as lynx does
    if waits and "BROWSER" not in os.environ:
        return False
    return browser.open(url)
