"""The commands that run the service, whole or in parts."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.markup import escape

from stepsize import cards, embedded, pool
from stepsize import demo as demonstration
from stepsize.becoming import PASS_ON, become, require
from stepsize.client import Client
from stepsize.embedded import Place
from stepsize.report import notes, output
from stepsize.supervisor import Supervisor

app = typer.Typer()

PANEL = "Service"

DataDir = Annotated[
    Path,
    typer.Option(envvar="STEPSIZE_DATA_DIR", help="Database, data sets and logs; made if needed."),
]
Host = Annotated[str, typer.Option(envvar="STEPSIZE_HOST", help="Address to listen on.")]
Port = Annotated[
    int, typer.Option(envvar="STEPSIZE_PORT", min=1, max=65_535, help="Port to listen on.")
]


@app.command(rich_help_panel=PANEL)
def up(
    *,
    data_dir: DataDir = Path("stepsize-data"),
    host: Host = "127.0.0.1",
    port: Port = 8000,
    as_json: Annotated[
        bool, typer.Option("--json", help="Say in JSON when it is ready, for machines.")
    ] = False,
) -> None:
    """Start the whole service on this machine; Ctrl-C stops it.

    API, dashboard, broker, SQLite database and one worker, without configuration.
    What dies is started again; the logs are in the data directory.

    Example: [bold]stepsize up --data-dir ~/stepsize --port 8001[/]
    """
    place = Place(data_dir, host, port)
    with suppress(KeyboardInterrupt), _running(place) as service:
        if as_json:
            typer.echo(json.dumps({"url": place.url, "pid": os.getpid()}))
        else:
            _greet(place)
        _tend(service)


@app.command(rich_help_panel=PANEL)
def demo(
    *,
    data: Annotated[
        Literal["digits", "fashion-mnist"],
        typer.Option(help="What to learn: digits takes seconds, fashion-mnist about a minute."),
    ] = "digits",
    to: Annotated[
        Path, typer.Option("--output", "-o", help="Where the pictures and the data go.")
    ] = Path("demo-output"),
    keep: Annotated[bool, typer.Option(help="Leave the service on until Ctrl-C.")] = False,
) -> None:
    """See it work: a range test, then a training between the bounds it found.

    Starts the service for as long as it takes; nothing needs to run before.

    Example: [bold]stepsize demo --data fashion-mnist --keep[/]
    """
    port = 8000 if embedded.port_is_free("127.0.0.1", 8000) else embedded.free_port()
    place = Place(to / "stepsize-data", port=port)
    with _running(place) as service, Client(place.url) as client:
        _greet(place)
        done = demonstration.show(client, data, to, tend=service.tend)
        output.print(done.table())
        for picture in done.pictures:
            output.print(f"drawn into {escape(str(picture))}", soft_wrap=True)
        if keep:
            notes.print("the service stays on: Ctrl-C stops it")
            with suppress(KeyboardInterrupt):
                _tend(service)
    notes.print(
        f"to look again: stepsize up --data-dir {escape(str(place.data_dir))}", soft_wrap=True
    )


@app.command(rich_help_panel=PANEL, context_settings=PASS_ON)
def api(ctx: typer.Context) -> None:
    """Run the API alone, configured by the environment (STEPSIZE_DATABASE_URL, ...).

    docs/deployment.md has every variable.

    Example:
    [bold]STEPSIZE_DATABASE_URL=postgresql://... STEPSIZE_BROKER_URL=redis://... stepsize api[/]
    """
    become("api", ctx.args, needs="fastapi", extra="api")


@app.command(rich_help_panel=PANEL)
def worker(
    *,
    devices: Annotated[
        str,
        typer.Option(
            envvar="STEPSIZE_DEVICE",
            help="auto, cpu, cuda, or which GPUs by commas: numbers or UUIDs.",
        ),
    ] = "auto",
    per_gpu: Annotated[
        int, typer.Option(min=1, max=64, help="Nodes that share each GPU, and its memory.")
    ] = 1,
    gpus_per_job: Annotated[
        int, typer.Option(min=1, max=64, help="GPUs of each node, for jobs that need several.")
    ] = 1,
    labels: Annotated[
        str | None,
        typer.Option(envvar="STEPSIZE_LABELS", help="That jobs may ask for, by commas."),
    ] = None,
    queues: Annotated[
        str | None, typer.Option(envvar="STEPSIZE_QUEUES", help="To serve, by commas.")
    ] = None,
) -> None:
    """Run the workers of this machine: one node for each GPU, or one for the CPUs.

    Where database and broker are it takes from the environment (STEPSIZE_DATABASE_URL, ...).
    What dies is started again. Ctrl-C or SIGTERM: jobs are handed back; a second one kills.

    Example: [bold]stepsize worker --queues gpu,default --labels nvme[/]
    """
    require("torch", extra="worker")
    found = [] if devices == "cpu" else cards.visible(os.environ)
    nodes = pool.planned(cards.chosen(found, devices), per_gpu=per_gpu, gpus_per_job=gpus_per_job)
    told = {"STEPSIZE_LABELS": labels, "STEPSIZE_QUEUES": queues}
    environ = {**os.environ, **{name: text for name, text in told.items() if text is not None}}
    stop = pool.Stop()
    with pool.stoppable(stop):
        raise typer.Exit(pool.run(nodes, environ, stop=stop, say=typer.echo))


@app.command(rich_help_panel=PANEL, context_settings=PASS_ON)
def migrate(ctx: typer.Context) -> None:
    """Upgrade the database at STEPSIZE_DATABASE_URL to the newest schema.

    [bold]stepsize up[/] does so by itself.

    Example: [bold]STEPSIZE_DATABASE_URL=postgresql://... stepsize migrate[/]
    """
    become("migrations", ctx.args, needs="alembic", extra="store")


@contextmanager
def _running(place: Place) -> Iterator[Supervisor]:
    def say(text: str) -> None:
        notes.print(escape(text), soft_wrap=True)

    with (
        notes.status("starting the service") as status,
        embedded.running(place, say=say) as service,
    ):
        status.stop()
        yield service


def _greet(place: Place) -> None:
    output.print(f"stepsize is ready: {place.url}/", soft_wrap=True)
    output.print(f"  API documentation   {place.url}/docs", soft_wrap=True)
    output.print(f"  data and logs       {escape(str(place.data_dir))}", soft_wrap=True)


def _tend(service: Supervisor) -> NoReturn:
    while True:
        service.tend()
        time.sleep(0.2)
