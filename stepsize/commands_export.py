"""The command that takes jobs to the tools that people already use."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from stepsize import to_mlflow, to_tensorboard
from stepsize.client import Client
from stepsize.commands_compare import Ids, jobs_of
from stepsize.following import PANEL, AsJson
from stepsize.report import notes

app = typer.Typer()


class Tool(StrEnum):
    """Where jobs can go."""

    TENSORBOARD = "tensorboard"
    MLFLOW = "mlflow"


@app.command(rich_help_panel=PANEL)
def export(
    ids: Ids,
    *,
    to: Annotated[
        tuple[Tool, str],
        typer.Option(
            "--to",
            metavar="TOOL PLACE",
            help="tensorboard and a folder, or mlflow and its tracking URI.",
            show_default=False,
        ),
    ],
    experiment: Annotated[str, typer.Option(help="Of MLflow; made if needed.")] = "stepsize",
    as_json: AsJson = False,
) -> None:
    """Export jobs, every iteration of them, to TensorBoard or MLflow.

    Run again, as for a job that goes on, it adds what is new. For pandas and all else there is
    [bold]stepsize series --format csv[/].

    Example: [bold]stepsize export job_1 job_2 --to tensorboard runs && tensorboard --logdir runs[/]
    """
    tool, place = to
    done = {}
    with Client() as client:
        for each in jobs_of(client, ids):
            job = client.job(each)
            if tool is Tool.TENSORBOARD:
                done[job.id] = str(to_tensorboard.export(client, job, Path(place)))
            else:
                done[job.id] = to_mlflow.export(client, job, place, experiment=experiment)
            if not as_json:
                typer.echo(done[job.id])
            notes.print(escape(f"{job.id}: {job.progress.iteration:,} iterations"))
    if as_json:
        typer.echo(json.dumps(done, indent=2))
