"""What the commands about jobs have in common: their arguments, and following a job to its end."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from stepsize.client import Client
from stepsize.errors import StepsizeError
from stepsize.progress import follow
from stepsize.report import costs, end, notes, put
from stepsize.values import Job, JobPreview

PANEL = "Jobs"

LATEST = 20
"""Jobs, and sweeps, that completion offers."""


def job_ids(incomplete: str) -> list[tuple[str, str]]:
    """The latest jobs whose ids begin so, for the completion of the shell."""
    with suppress(StepsizeError), Client(timeout=1) as client:
        found = client.jobs(limit=LATEST)
        return [
            (job.id, f"{job.name or job.kind} ({job.state})")
            for job in found
            if job.id.startswith(incomplete)
        ]
    return []  # nobody answers: there is nothing to offer


def any_ids(incomplete: str) -> list[tuple[str, str]]:
    """The latest jobs and sweeps, likewise."""
    with suppress(StepsizeError), Client(timeout=1) as client:
        found = client.sweeps.list(limit=LATEST)
        told = [(each.id, f"{each.name or 'sweep'} ({each.state})") for each in found]
        return [each for each in told if each[0].startswith(incomplete)] + job_ids(incomplete)
    return []


Id = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="The job: job_...", show_default=False, autocompletion=job_ids
    ),
]
AnyId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The job or sweep: job_..., swp_...",
        show_default=False,
        autocompletion=any_ids,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Say what is wrong with it and what it costs; queue nothing."),
]
PlotTo = Annotated[
    Path | None, typer.Option("--plot", metavar="PNG", help="Draw the finished job into a file.")
]


def submitted(
    client: Client, job: Job, *, watch: bool, as_json: bool, plot: Path | None = None
) -> None:
    """Says what was queued, or follows it to its end."""
    if watch:
        notes.print(f"submitted {job.id}")
        watched(client, job.id, as_json=as_json, plot=plot)
        return
    _warn(job)
    if as_json:
        typer.echo(job.model_dump_json(indent=2))
    else:
        typer.echo(job.id)
        notes.print(f"{job.state}; follow it with `stepsize watch {job.id}`", soft_wrap=True)


def dry_run(client: Client, spec: Mapping[str, Any] | Path, *, as_json: bool) -> None:
    """Says what a submission would come to; exits with 1 where it would be refused."""
    told = client.dry_run(spec)
    if as_json:
        typer.echo(told.model_dump_json(indent=2))
        raise typer.Exit(0 if told.valid else 1)
    if not told.valid:
        lines = [f"  {each.pointer or '/'}: {each.detail}" for each in told.problems]
        raise StepsizeError("\n".join(["the server would refuse this", *lines]))
    put(costs(told.iterations, told.seconds, at_most=True))
    _warn(told)


def _warn(job: Job | JobPreview) -> None:
    for warning in job.warnings:
        notes.print(f"note: {escape(warning)}", soft_wrap=True)


def watched(
    client: Client, job: str, *, as_json: bool, plot: Path | None, timeout: float | None = None
) -> None:
    """Follows a job, prints its end, and exits with the code of that."""
    try:
        last = (
            client.wait(job, timeout=timeout)
            if as_json
            else follow(client, job, timeout=timeout, chart=True)
        )
    except KeyboardInterrupt:
        notes.print(f"{job} goes on: `stepsize watch {job}` follows it again", soft_wrap=True)
        raise
    if plot is not None and last.succeeded:
        client.plot(last, plot)
        notes.print(f"drawn into {escape(str(plot))}", soft_wrap=True)
    _warn(last)  # some are known only once a worker has seen the data
    end(last, as_json=as_json)


def pairs(given: list[str] | None, separator: str, *, parse: bool = True) -> dict[str, Any]:
    """KEY=VALUE of the command line as a mapping; a value that is JSON is what that means."""
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
