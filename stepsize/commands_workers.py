"""The commands that speak to a running server about its workers."""

import json
from typing import Annotated

import typer
from rich.markup import escape

from stepsize.client import Client
from stepsize.following import AsJson
from stepsize.report import notes, output, plain_table, put

app = typer.Typer()

PANEL = "Workers"


@app.command(rich_help_panel=PANEL)
def workers(*, as_json: AsJson = False) -> None:
    """List the workers, and what each is doing.

    Example: [bold]stepsize workers --json[/]
    """
    with Client() as client:
        found = client.workers()
    if as_json:
        typer.echo(json.dumps([each.model_dump(mode="json") for each in found], indent=2))
    elif found:
        rows = [(each.name, each.state, each.job or "", each.device or "") for each in found]
        put(plain_table(("name", "state", "job", "device"), rows))
        for each in found:
            if each.quarantine is not None:
                until = f"{each.quarantine.until.astimezone():%H:%M:%S}"
                notes.print(
                    escape(f"{each.name} is given no jobs until {until}: {each.quarantine.reason}"),
                    soft_wrap=True,
                )
            for what in each.left_out:
                if " of stepsize:" not in what:  # extras that nobody has to have
                    notes.print(f"{escape(each.name)} leaves out {escape(what)}", soft_wrap=True)
    else:
        notes.print("no workers: start one with `stepsize worker`")


@app.command(rich_help_panel=PANEL)
def drain(
    worker: Annotated[
        str,
        typer.Argument(
            metavar="WORKER", help="Its name, as `stepsize workers` lists it.", show_default=False
        ),
    ],
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Let it take jobs again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let a worker finish its job and take no more, say before its machine is shut down.

    Example: [bold]stepsize drain cpu-7@host[/], and afterwards [bold]--undo[/]
    """
    with Client() as client:
        now = client.undrain(worker) if undo else client.drain(worker)
    if as_json:
        typer.echo(now.model_dump_json(indent=2))
        return
    last = f" after {now.job}" if now.job else ""
    words = "takes jobs again" if undo else f"takes no more jobs{last}"
    output.print(escape(f"{now.name} {words}"), soft_wrap=True)


@app.command(rich_help_panel=PANEL)
def release(
    worker: Annotated[
        str,
        typer.Argument(
            metavar="WORKER", help="Its name, as `stepsize workers` lists it.", show_default=False
        ),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Give jobs again to a worker in quarantine, say once its device has been repaired.

    Example: [bold]stepsize release gpu-0@host[/]
    """
    with Client() as client:
        now = client.release(worker)
    if as_json:
        typer.echo(now.model_dump_json(indent=2))
    else:
        output.print(escape(f"{now.name} is given jobs again"), soft_wrap=True)
