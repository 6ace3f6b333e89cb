"""The commands that speak to a running server about jobs."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from stepsize.client import Client
from stepsize.downloads import whole
from stepsize.errors import ApiError, StepsizeError
from stepsize.following import (
    PANEL,
    AnyId,
    AsJson,
    DryRun,
    Id,
    PlotTo,
    dry_run,
    pairs,
    submitted,
    watched,
)
from stepsize.report import listing, notes, put
from stepsize.specs import range_test as range_test_spec
from stepsize.sweep_report import is_sweep, sweep_watched

app = typer.Typer()

MEDIA = {
    "csv": "text/csv",
    "json": "application/json",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
BINARY = {"arrow", "parquet"}
NOT_ACCEPTABLE = 406

Params = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="One parameter; repeat for more.")
]


@app.command(rich_help_panel=PANEL)
def submit(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON, YAML or TOML; - reads standard input.")
    ],
    *,
    dry: DryRun = False,
    watch: Annotated[bool, typer.Option(help="Follow it to its end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Queue a job from a file and print its id.

    The file holds what [bold]POST /v1/jobs[/] takes: /docs on a running server has every field.

    Example: [bold]id=$(stepsize submit training.yaml) && stepsize watch $id[/]
    """
    if dry and watch:
        raise typer.BadParameter("--dry-run queues nothing to watch: leave out one of the two")
    with Client() as client:
        if dry:
            dry_run(client, file, as_json=as_json)
        else:
            submitted(client, client.submit(file), watch=watch, as_json=as_json)


@app.command("range-test", rich_help_panel=PANEL)
def range_test(  # noqa: PLR0913 - one option for each field of the spec
    *,
    model: Annotated[str, typer.Option(help="Such as mlp, lenet, resnet.", show_default=False)],
    data: Annotated[str, typer.Option(help="Such as digits, fashion-mnist.", show_default=False)],
    optimizer: Annotated[str, typer.Option(help="Such as sgd, adam.", show_default=False)],
    batch_size: Annotated[
        int, typer.Option(min=1, help="Examples of one update.", show_default=False)
    ],
    model_param: Params = None,
    data_param: Params = None,
    optimizer_param: Params = None,
    start: Annotated[float, typer.Option(help="Lowest learning rate.")] = 1e-7,
    end_: Annotated[float, typer.Option("--end", help="Highest learning rate.")] = 10.0,
    iterations: Annotated[int, typer.Option(help="Updates in each repeat.")] = 300,
    ramp: Annotated[
        Literal["exponential", "linear"], typer.Option(help="How the learning rate grows.")
    ] = "exponential",
    repeats: Annotated[int, typer.Option(help="Runs, each from another seed.")] = 3,
    extensions: Annotated[
        int, typer.Option(help="How often the ramp may go on to ten times its end.")
    ] = 2,
    loss: Annotated[
        Literal["batch", "probe", "validation"],
        typer.Option(help="Which loss is read; probe: of one fixed batch after each update."),
    ] = "batch",
    check: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A second opinion: curvature or line_search."),
    ] = None,
    record: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Also record accuracy or grad_norm.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights and batches; repeats count on.")] = 0,
    precision: Annotated[
        Literal["fp32", "tf32", "bf16"], typer.Option(help="What it is computed in.")
    ] = "fp32",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Any other field of the job, as population=true or channels_last=true.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="A name to find it by.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY:VALUE", help="A tag; repeat for more.")
    ] = None,
    dry: DryRun = False,
    watch: Annotated[bool, typer.Option(help="Follow it to its end.")] = True,
    plot: PlotTo = None,
    as_json: AsJson = False,
) -> None:
    r"""Find the learning rates that suit a model, its data and its optimizer.

    Example:
    [bold]stepsize range-test --data digits --model mlp --model-param 'hidden=\[64]' \
      --optimizer sgd --optimizer-param momentum=0.9 --batch-size 32 --plot lr.png[/]
    """
    fields: dict[str, Any] = {
        "batch_size": batch_size,
        "range": {"start": start, "end": end_, "iterations": iterations, "ramp": ramp},
        "repeats": repeats,
        "extensions": extensions,
        "loss": loss,
        "checks": check or [],
        "record": record or [],
        "seed": seed,
        "precision": precision,
        "name": name,
        "tags": {key: str(value) for key, value in pairs(tag, ":", parse=False).items()},
    }
    spec = range_test_spec(
        {"name": model, "params": pairs(model_param, "=")},
        {"name": data, "params": pairs(data_param, "=")},
        {"name": optimizer, "params": pairs(optimizer_param, "=")},
        **(fields | pairs(set_, "=")),
    )
    with Client() as client:
        if dry:
            dry_run(client, spec, as_json=as_json)
        else:
            submitted(client, client.submit(spec), watch=watch, as_json=as_json, plot=plot)


@app.command(rich_help_panel=PANEL)
def watch(
    job: AnyId,
    *,
    timeout: Annotated[
        float | None, typer.Option(help="Give up after so many seconds; it goes on regardless.")
    ] = None,
    plot: PlotTo = None,
    as_json: AsJson = False,
) -> None:
    """Follow a job, or a sweep, to its end and print the result.

    In a terminal its curve is drawn as it is recorded; elsewhere lines say how far it is.
    What is paused is waited for, until it has been resumed and ends.
    Exits with 0 when it succeeded, 1 when it failed, 3 when it was cancelled.

    Example: [bold]stepsize watch job_... --plot curve.png[/]
    """
    with Client() as client:
        if is_sweep(job):
            if plot is not None:
                raise StepsizeError(
                    "a sweep cannot be drawn: leave out --plot, or name a job of it"
                )
            sweep_watched(client, job, timeout=timeout, as_json=as_json)
        watched(client, job, timeout=timeout, plot=plot, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def jobs(
    *,
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATE", help="queued, running, paused, succeeded, failed or cancelled."
        ),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="range_test or training.")] = None,
    name: Annotated[str | None, typer.Option(help="Those of this name.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY:VALUE", help="All of several.")
    ] = None,
    sweep: Annotated[str | None, typer.Option(metavar="ID", help="Those of a sweep.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most to list.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first.

    Example: [bold]stepsize jobs --state running --state queued --tag project:demo[/]
    """
    with Client() as client:
        found = client.jobs(state=state, kind=kind, name=name, tag=tag, sweep=sweep, limit=limit)
    if as_json:
        typer.echo(json.dumps([job.model_dump(mode="json") for job in found], indent=2))
    elif found:
        put(listing(found))
    else:
        notes.print("no jobs")


@app.command(rich_help_panel=PANEL)
def series(
    job: Id,
    *,
    names: Annotated[
        str, typer.Option(help="By commas: loss,lr,momentum,accuracy or val_loss,val_accuracy.")
    ] = "loss,lr",
    form: Annotated[
        Literal["csv", "json", "arrow", "parquet"],
        typer.Option("--format", help="How they are written; pandas reads csv as it is."),
    ] = "csv",
    start: Annotated[int, typer.Option(help="First iteration.")] = 0,
    stop: Annotated[int | None, typer.Option(help="One past the last iteration.")] = None,
    points: Annotated[
        int | None, typer.Option(help="At most so many rows, extremes kept; all without.")
    ] = None,
    repeat: Annotated[int, typer.Option(help="Which run of a range test, from 0.")] = 0,
    to: Annotated[Path | None, typer.Option("--output", "-o", help="A file to write to.")] = None,
) -> None:
    """Print the numbers that a job recorded at every iteration.

    Example: [bold]stepsize series ID --names loss,lr --format csv > losses.csv[/]
    """
    if form in BINARY and to is None and sys.stdout.isatty():
        raise StepsizeError(f"{form} is binary: name a file with --output")
    output = contextlib.nullcontext(sys.stdout.buffer) if to is None else whole(to)
    with Client() as client, output as file:
        try:
            client.export(
                job,
                file,
                names,
                media=MEDIA[form],
                start=start,
                stop=stop,
                points=points,
                repeat=repeat,
            )
        except ApiError as error:
            if error.status != NOT_ACCEPTABLE:
                raise
            raise StepsizeError(
                f"this server does not serve {form}: use --format csv or json"
            ) from error
