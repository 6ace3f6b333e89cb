"""The commands that change what becomes of a job, and look at all that happened to it."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from stepsize.client import Client
from stepsize.following import PANEL, AnyId, AsJson, Id, PlotTo, pairs, submitted
from stepsize.report import notes, output, put
from stepsize.story import checkpoint_table, story
from stepsize.sweep_report import is_sweep, sweep_story, tally
from stepsize.sweep_values import Sweep
from stepsize.sweeps import Sweeps
from stepsize.values import Job

app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def show(job: AnyId, *, as_json: AsJson = False) -> None:
    """Show a job with every attempt at it and all that happened to it, or how a sweep stands.

    Example: [bold]stepsize show job_... --json[/]
    """
    with Client() as client:
        if is_sweep(job):
            sweep_story(client, client.sweeps.get(job), as_json=as_json)
            return
        now = client.job(job)
    if as_json:
        typer.echo(now.model_dump_json(indent=2))
    else:
        for part in story(now):
            put(part)


@app.command(rich_help_panel=PANEL)
def cancel(job: AnyId, *, as_json: AsJson = False) -> None:
    """Cancel a job: a waiting or paused one at once, a running one within seconds.

    Of a sweep, every job that has not ended; no more are begun.

    Example: [bold]stepsize cancel job_...[/]
    """
    with Client() as client:
        now = _of(client, job).cancel(job)
    _say(now, "cancelled" if now.finished else "was asked to stop", as_json=as_json)


@app.command(rich_help_panel=PANEL)
def pause(job: AnyId, *, as_json: AsJson = False) -> None:
    """Pause a job: a waiting one at once, a running one within seconds, at a checkpoint.

    Nothing of it is lost: [bold]stepsize resume ID[/] lets it go on from there. Of a sweep, every
    job that has not ended; no more are begun for now.

    Example: [bold]stepsize pause job_... && stepsize resume job_...[/]
    """
    with Client() as client:
        now = _of(client, job).pause(job)
    pausing = isinstance(now, Job) and now.pause_requested
    asked = "was asked to pause" if pausing else "is about to be cancelled"
    _say(now, "paused" if now.paused else asked, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def resume(job: AnyId, *, as_json: AsJson = False) -> None:
    """Let a paused job go on from its checkpoint, or all jobs of a paused sweep.

    Example: [bold]stepsize resume job_... && stepsize watch job_...[/]
    """
    with Client() as client:
        now = _of(client, job).resume(job)
    _say(now, now.state, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def retry(job: AnyId, *, as_json: AsJson = False) -> None:
    """Queue a failed or cancelled job again; it goes on from its last checkpoint.

    Of a sweep, those jobs that failed.

    Example: [bold]stepsize show job_... && stepsize retry job_...[/]
    """
    with Client() as client:
        now = _of(client, job).retry(job)
    _say(now, now.state, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def extend(
    job: Id,
    *,
    length: Annotated[
        str | None,
        typer.Option(
            metavar="N|UNIT=N",
            help="Of all of it, what was trained before included: iterations, or as epochs=20.",
        ),
    ] = None,
    iteration: Annotated[
        int | None, typer.Option(min=1, help="Of the checkpoint to go on from; the last without.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="Another field of the job that is to differ."
        ),
    ] = None,
    watch: Annotated[bool, typer.Option(help="Follow it to its end.")] = False,
    plot: PlotTo = None,
    as_json: AsJson = False,
) -> None:
    """Queue a training that goes on from a checkpoint of another, and print its id.

    It is as the other in every field but those given; the other stays as it is.

    Example:
    [bold]stepsize extend ID --length epochs=20 --set 'schedule={"policy": "cosine", "lr": 0.01}'[/]
    """
    changes = pairs(set_, "=")
    if length is not None:
        changes["length"] = pairs([length if "=" in length else f"iterations={length}"], "=")
    with Client() as client:
        longer = client.extend(job, iteration=iteration, **changes)
        submitted(client, longer, watch=watch, as_json=as_json, plot=plot)


@app.command(rich_help_panel=PANEL)
def checkpoints(
    job: Id,
    *,
    download: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Download the one at this iteration."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write; ID-N.ckpt without."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the checkpoints of a job, or download one.

    The file is for PyTorch: [bold]torch.load(file, weights_only=True)[/].

    Example: [bold]stepsize checkpoints job_... --download 3000 --output weights.ckpt[/]
    """
    with Client() as client:
        if download is not None:
            target = to or Path(f"{job}-{download}.ckpt")
            typer.echo(client.download_checkpoint(job, download, target))
            return
        found = client.checkpoints(job)
    if as_json:
        typer.echo(json.dumps([each.model_dump(mode="json") for each in found], indent=2))
    elif found:
        put(checkpoint_table(found))
    else:
        notes.print("no checkpoints")


def _of(client: Client, id_: str) -> Client | Sweeps:
    return client.sweeps if is_sweep(id_) else client


def _say(now: Job | Sweep, words: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(now.model_dump_json(indent=2))
        return
    jobs = f": {tally(now)}" if isinstance(now, Sweep) else ""
    output.print(f"{now.id} {escape(words)}{jobs}", soft_wrap=True)
