"""The commands about sweeps: many jobs of one template, begun, listed and compared."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stepsize.client import Client
from stepsize.errors import StepsizeError
from stepsize.following import AsJson
from stepsize.report import notes, put
from stepsize.specs import Spec, read_spec
from stepsize.sweep_report import (
    is_sweep,
    listing,
    preview_parts,
    results_csv,
    results_table,
    sweep_watched,
)
from stepsize.sweep_values import ranked

app = typer.Typer()

PANEL = "Sweeps"


class Form(StrEnum):
    """How results are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@app.command(rich_help_panel=PANEL)
def sweep(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON, YAML or TOML; - reads standard input.")
    ],
    *,
    preview: Annotated[
        bool, typer.Option("--preview", "--dry-run", help="Say what it would run; queue nothing.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "--wait", help="Follow it to its end, show the best jobs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Queue a sweep or a recipe from a file, and print its id.

    Followed, it exits with 0 when it succeeded, 1 when it failed, 3 when it was cancelled.

    Example: [bold]stepsize sweep lr.yaml --preview && stepsize sweep lr.yaml --watch[/]
    """
    if preview and watch:
        raise typer.BadParameter("--preview queues nothing to watch: leave out one of the two")
    asked(read_spec(file), preview=preview, watch=watch, as_json=as_json)


def asked(spec: Spec, *, preview: bool, watch: bool, as_json: bool) -> None:
    """Says what a sweep would run, or queues it, and says so or follows it to its end."""
    with Client() as client:
        if preview:
            told = client.sweeps.preview(spec)
            if as_json:
                typer.echo(told.model_dump_json(indent=2))
                return
            for part in preview_parts(told):
                put(part)
            return
        now = client.sweeps.submit(spec)
        if watch:
            notes.print(f"submitted {now.id}")
            sweep_watched(client, now.id, as_json=as_json)
    if as_json:
        typer.echo(now.model_dump_json(indent=2))
    else:
        typer.echo(now.id)
        follow = f"follow it with `stepsize watch {now.id}`"
        notes.print(f"{now.promised:,} jobs; {follow}", soft_wrap=True)


@app.command(rich_help_panel=PANEL)
def sweeps(
    *,
    limit: Annotated[int, typer.Option(min=1, help="The most to list.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List sweeps, newest first: how much of each is done, and its best value.

    Example: [bold]stepsize sweeps --limit 5[/]
    """
    with Client() as client:
        found = client.sweeps.list(limit=limit)
    if as_json:
        typer.echo(json.dumps([each.model_dump(mode="json") for each in found], indent=2))
    elif found:
        put(listing(found))
    else:
        notes.print("no sweeps: queue one with `stepsize sweep FILE`")


@app.command("sweep-results", rich_help_panel=PANEL)
def sweep_results(
    sweep: Annotated[
        str, typer.Argument(metavar="ID", help="The sweep: swp_...", show_default=False)
    ],
    *,
    form: Annotated[Form, typer.Option("--format", help="How it is written.")] = Form.TABLE,
    limit: Annotated[
        int | None, typer.Option(min=1, help="The most to print; all without.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print what came of every configuration of a sweep, the best first.

    CSV and JSON have every digit, and every number of the jobs' results.

    Example: [bold]stepsize sweep-results ID --format csv > results.csv[/]
    """
    if not is_sweep(sweep):
        raise StepsizeError(f"{sweep} is no sweep: `stepsize sweeps` lists them")
    with Client() as client:
        now = client.sweeps.get(sweep)
        found = ranked(now, client.sweeps.results(sweep))[:limit]
    if as_json or form is Form.JSON:
        typer.echo(json.dumps([each.model_dump(mode="json") for each in found], indent=2))
    elif form is Form.CSV:
        typer.echo(results_csv(found), nl=False)
    elif found:
        put(results_table(now, found))
    else:
        notes.print("no jobs yet")
