"""The commands that speak to a running server about jobs."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from stepsize.client import Client
from stepsize.errors import ApiError, StepsizeError
from stepsize.progress import follow
from stepsize.report import end, listing, notes, output
from stepsize.specs import range_test as range_test_spec
from stepsize.values import Job

app = typer.Typer()

PANEL = "Jobs"

MEDIA = {
    "csv": "text/csv",
    "json": "application/json",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
BINARY = {"arrow", "parquet"}
NOT_ACCEPTABLE = 406
UNCUT = 400

Id = Annotated[str, typer.Argument(metavar="ID", help="The job: job_...", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
PlotTo = Annotated[
    Path | None, typer.Option("--plot", metavar="PNG", help="Draw the finished job into a file.")
]
Params = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="One parameter; repeat for more.")
]


@app.command(rich_help_panel=PANEL)
def submit(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON, YAML or TOML; - reads standard input.")
    ],
    *,
    watch: Annotated[bool, typer.Option(help="Follow it to its end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Queue a job from a file and print its id.

    Example: [bold]id=$(stepsize submit training.yaml) && stepsize watch $id[/]
    """
    with Client() as client:
        _submitted(client, client.submit(file), watch=watch, as_json=as_json)


@app.command("range-test", rich_help_panel=PANEL)
def range_test(  # noqa: PLR0913 - one option for each field of the spec
    *,
    model: Annotated[str, typer.Option(help="Such as mlp, lenet, resnet.", show_default=False)],
    data: Annotated[str, typer.Option(help="Such as digits, fashion-mnist.", show_default=False)],
    optimizer: Annotated[str, typer.Option(help="Such as sgd, adam.", show_default=False)],
    batch_size: Annotated[int, typer.Option(min=1, show_default=False)],
    model_param: Params = None,
    data_param: Params = None,
    optimizer_param: Params = None,
    start: Annotated[float, typer.Option(help="Lowest learning rate.")] = 1e-7,
    end_: Annotated[float, typer.Option("--end", help="Highest learning rate.")] = 10.0,
    iterations: Annotated[int, typer.Option(help="Updates in each repeat.")] = 300,
    ramp: Annotated[Literal["exponential", "linear"], typer.Option()] = "exponential",
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
    seed: Annotated[int, typer.Option()] = 0,
    precision: Annotated[Literal["fp32", "tf32", "bf16"], typer.Option()] = "fp32",
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
    watch: Annotated[bool, typer.Option(help="Follow it to its end.")] = True,
    plot: PlotTo = None,
    as_json: AsJson = False,
) -> None:
    r"""Find the learning rates that suit a model, its data and its optimizer.

    Example:
    [bold]stepsize range-test --data digits --model mlp --model-param 'hidden=\[64]' \
      --optimizer sgd --optimizer-param momentum=0.9 --batch-size 32 --plot lr.png[/]
    """
    fields = {
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
        "tags": {key: str(value) for key, value in _pairs(tag, ":", parse=False).items()},
    }
    spec = range_test_spec(
        {"name": model, "params": _pairs(model_param, "=")},
        {"name": data, "params": _pairs(data_param, "=")},
        {"name": optimizer, "params": _pairs(optimizer_param, "=")},
        **(fields | _pairs(set_, "=")),
    )
    with Client() as client:
        _submitted(client, client.submit(spec), watch=watch, as_json=as_json, plot=plot)


@app.command(rich_help_panel=PANEL)
def watch(
    job: Id,
    *,
    timeout: Annotated[
        float | None, typer.Option(help="Give up after so many seconds; the job goes on.")
    ] = None,
    plot: PlotTo = None,
    as_json: AsJson = False,
) -> None:
    """Follow a job to its end and print the result.

    Exits with 0 when it succeeded, 1 when it failed, 3 when it was cancelled.
    """
    with Client() as client:
        _watched(client, job, timeout=timeout, plot=plot, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def jobs(
    *,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="queued, running, succeeded, failed or cancelled."),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="range_test or training.")] = None,
    name: Annotated[str | None, typer.Option()] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY:VALUE", help="All of several.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most to list.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with Client() as client:
        found = client.jobs(state=state, kind=kind, name=name, tag=tag, limit=limit)
    if as_json:
        typer.echo(json.dumps([job.model_dump(mode="json") for job in found], indent=2))
    elif found:
        # a file or a pipe has no width to fit into
        output.print(listing(found), width=None if output.is_terminal else UNCUT)
    else:
        notes.print("no jobs")


@app.command(rich_help_panel=PANEL)
def cancel(job: Id, *, as_json: AsJson = False) -> None:
    """Cancel a job: a waiting one at once, a running one within seconds."""
    with Client() as client:
        now = client.cancel(job)
    if as_json:
        typer.echo(now.model_dump_json(indent=2))
    else:
        output.print(f"{now.id} {now.state if now.finished else 'was asked to stop'}")


@app.command(rich_help_panel=PANEL)
def series(
    job: Id,
    *,
    names: Annotated[
        str, typer.Option(help="By commas: loss,lr,momentum,accuracy or val_loss,val_accuracy.")
    ] = "loss,lr",
    form: Annotated[Literal["csv", "json", "arrow", "parquet"], typer.Option("--format")] = "csv",
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
    with Client() as client:
        try:
            rows = client.export(
                job,
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
                f"this server does not serve {form} yet: use --format csv or json"
            ) from error
    if to is None:
        sys.stdout.buffer.write(rows)
    else:
        to.write_bytes(rows)


def _submitted(
    client: Client, job: Job, *, watch: bool, as_json: bool, plot: Path | None = None
) -> None:
    if watch:
        notes.print(f"submitted {job.id}")
        _watched(client, job.id, as_json=as_json, plot=plot)
        return
    _warn(job)
    if as_json:
        typer.echo(job.model_dump_json(indent=2))
    else:
        typer.echo(job.id)
        notes.print(f"{job.state}; follow it with `stepsize watch {job.id}`", soft_wrap=True)


def _warn(job: Job) -> None:
    for warning in job.warnings:
        notes.print(f"note: {escape(warning)}", soft_wrap=True)


def _watched(
    client: Client, job: str, *, as_json: bool, plot: Path | None, timeout: float | None = None
) -> None:
    try:
        last = (
            client.wait(job, timeout=timeout) if as_json else follow(client, job, timeout=timeout)
        )
    except KeyboardInterrupt:
        notes.print(f"{job} goes on: `stepsize watch {job}` follows it again", soft_wrap=True)
        raise
    if plot is not None and last.succeeded:
        client.plot(last, plot)
        notes.print(f"drawn into {escape(str(plot))}", soft_wrap=True)
    _warn(last)  # some are known only once a worker has seen the data
    end(last, as_json=as_json)


def _pairs(given: list[str] | None, separator: str, *, parse: bool = True) -> dict[str, Any]:
    pairs = {}
    for each in given or []:
        key, found, value = each.partition(separator)
        if not found:
            raise typer.BadParameter(f"{each!r} must be KEY{separator}VALUE")
        pairs[key] = _value(value) if parse else value
    return pairs


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # a word needs no quotes
