"""The commands about owners: usage, shares and limits, and rules of retention."""

import json
from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape

from stepsize.client import Client
from stepsize.errors import StepsizeError
from stepsize.following import AsJson
from stepsize.owners import Owner, Rule
from stepsize.report import notes, output, plain_table, put

app = typer.Typer()

PANEL = "Owners"

owners = typer.Typer(
    no_args_is_help=True,
    help="Shares and limits of owners; takes a key with the scope admin.",
    rich_markup_mode="rich",
)
app.add_typer(owners, name="owners", rich_help_panel=PANEL)

retention = typer.Typer(
    no_args_is_help=True,
    help="Let series and checkpoints be deleted some time after a job's end.",
    rich_markup_mode="rich",
)
app.add_typer(retention, name="retention", rich_help_panel=PANEL)

COLUMNS = ("owner", "share", "running", "waiting", "iterations", "checkpoints")


class What(StrEnum):
    """What a rule deletes."""

    SERIES = "series"
    CHECKPOINTS = "checkpoints"


@app.command(rich_help_panel=PANEL)
def usage(*, as_json: AsJson = False) -> None:
    """Say what your jobs use, and what they may.

    Example: [bold]stepsize usage[/]
    """
    with Client() as client:
        mine = client.usage()
    if as_json:
        typer.echo(mine.model_dump_json(indent=2))
    else:
        put(plain_table(COLUMNS, [_row(mine)]))


@owners.command("list")
def show(*, as_json: AsJson = False) -> None:
    """List the owners, their shares and limits, and what they use.

    Example: [bold]stepsize owners list[/]
    """
    with Client() as client:
        found = client.owners.list()
    if as_json:
        typer.echo(json.dumps([each.model_dump(mode="json") for each in found], indent=2))
    elif found:
        put(plain_table(COLUMNS, [_row(each) for each in found]))
    else:
        notes.print("no owners: whoever submits a job is one")


@owners.command("set")
def change(
    owner: Annotated[str, typer.Argument(help="As `stepsize owners list` shows it.")],
    *,
    share: Annotated[
        float | None, typer.Option(help="Of the workers: 2 gets twice as many as 1.")
    ] = None,
    running: Annotated[
        str | None, typer.Option(help="Jobs at once, or [bold]none[/] for no limit.")
    ] = None,
    points: Annotated[
        str | None, typer.Option(help="Recorded iterations, or [bold]none[/].")
    ] = None,
    checkpoint_bytes: Annotated[
        str | None, typer.Option(help="Bytes of checkpoints, or [bold]none[/].")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change an owner's share or limits; what is not given stays.

    Example: [bold]stepsize owners set ada --share 2 --running 8[/]
    """
    with Client() as client:
        known = next((each for each in client.owners.list() if each.owner == owner), None)
        now = client.owners.put(
            owner,
            share=share if share is not None else known.share if known else 1.0,
            max_running=_limit(running, known.max_running if known else None),
            max_points=_limit(points, known.max_points if known else None),
            max_checkpoint_bytes=_limit(
                checkpoint_bytes, known.max_checkpoint_bytes if known else None
            ),
        )
    if as_json:
        typer.echo(now.model_dump_json(indent=2))
    else:
        put(plain_table(COLUMNS, [_row(now)]))


@retention.command()
def add(
    what: Annotated[
        What,
        typer.Argument(
            help="series: all that was recorded, and of jobs that did not succeed the checkpoints"
            " too. checkpoints: those alone."
        ),
    ],
    days: Annotated[int, typer.Argument(min=0, max=36_500, help="Since the end of the job.")],
    *,
    tag: Annotated[
        str | None, typer.Option(help="Of jobs with this tag, KEY or KEY=VALUE.", metavar="TAG")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a rule: it is applied within a minute, to jobs that have ended before as well.

    Example: [bold]stepsize retention add checkpoints 30 --tag project=demo[/]
    """
    key, _, value = (tag or "").partition("=")
    with Client() as client:
        made = client.retention.add(
            what.value, after_days=days, tag=key or None, value=value or None
        )
    if as_json:
        typer.echo(made.model_dump_json(indent=2))
    else:
        output.print(escape(f"{made.id}: {_words(made)}"), soft_wrap=True)


@retention.command("list")
def rules(*, as_json: AsJson = False) -> None:
    """List your rules of retention.

    Example: [bold]stepsize retention list[/]
    """
    with Client() as client:
        found = client.retention.list()
    if as_json:
        typer.echo(json.dumps([each.model_dump(mode="json") for each in found], indent=2))
    elif found:
        put(plain_table(("id", "deletes"), [(each.id, _words(each)) for each in found]))
    else:
        notes.print("no rules: everything is kept until its job is deleted")


@retention.command()
def remove(
    rule: Annotated[str, typer.Argument(help="Its id, as `stepsize retention list` shows it.")],
) -> None:
    """Remove a rule; what it has deleted stays so.

    Example: [bold]stepsize retention remove ID[/]
    """
    with Client() as client:
        client.retention.remove(rule)
    output.print(escape(f"{rule} is removed"))


def _limit(said: str | None, before: int | None) -> int | None:
    if said is None:
        return before
    if said == "none":
        return None
    if not said.isdecimal():
        raise StepsizeError(f"{said!r} is no limit: give a whole number, or none")
    return int(said)


def _row(each: Owner) -> tuple[str, ...]:
    return (
        each.owner,
        f"{each.share:g}",
        _of(each.running, each.max_running),
        str(each.waiting),
        _of(each.points, each.max_points),
        f"{_of(each.checkpoint_bytes, each.max_checkpoint_bytes)} bytes",
    )


def _of(count: int, most: int | None) -> str:
    return f"{count:,}" if most is None else f"{count:,} of {most:,}"


def _words(rule: Rule) -> str:
    tagged = f" tagged {rule.tag}{'=' + rule.value if rule.value else ''}" if rule.tag else ""
    return f"{rule.what} of jobs{tagged}, {rule.after_days} days after their end"
