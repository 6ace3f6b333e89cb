"""The commands about API keys: who may use a server, and for what."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from stepsize.client import Client
from stepsize.errors import StepsizeError
from stepsize.following import AsJson
from stepsize.keys import Key, wanted
from stepsize.report import notes, output, plain_table, put

app = typer.Typer()

PANEL = "Keys"

keys = typer.Typer(
    no_args_is_help=True, help="Make, list and revoke API keys.", rich_markup_mode="rich"
)
app.add_typer(keys, name="keys", rich_help_panel=PANEL)


class Scope(StrEnum):
    """What a key is good for."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@keys.command()
def create(
    name: Annotated[
        str,
        typer.Argument(help="What the history calls it: of a person, of a machine."),
    ] = "admin",
    *,
    owner: Annotated[
        str | None,
        typer.Option(help="Whose jobs it sees and makes.", show_default="called as the key is"),
    ] = None,
    scope: Annotated[
        list[Scope] | None,
        typer.Option(
            help="read: look; write: submit, move, delete; admin: keys, audit trail, workers."
            " None includes another.",
            show_default="read and write; all three with --data-dir or STEPSIZE_DATABASE_URL",
        ),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(min=1, max=36_000, help="It expires after so many.", show_default="never"),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Make it in the database of `stepsize up --data-dir`, without a server.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this one time: only a digest of it is stored.

    It is asked of the server at STEPSIZE_URL, which takes a key with the scope admin. Where
    STEPSIZE_DATABASE_URL is set, or with --data-dir, it is made in the database itself: so the
    first key comes about.

    Example: [bold]export STEPSIZE_API_KEY=$(stepsize keys create ada --data-dir stepsize-data)[/]
    """
    url = _database(data_dir)
    scopes = scope or ([*Scope] if url else [Scope.READ, Scope.WRITE])
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    if url:
        made = _made_in(url, wanted(name, owner, scopes, expires_at))
    else:
        with Client() as client:
            made = client.keys.create(
                name, owner=owner, scopes=[each.value for each in scopes], expires_at=expires_at
            )
    if as_json:
        typer.echo(made.model_dump_json(indent=2))
        return
    notes.print(escape(f"{made.id}: {', '.join(made.scopes)} for {made.owner}"), soft_wrap=True)
    typer.echo(made.secret)


@keys.command("list")
def show(*, as_json: AsJson = False) -> None:
    """List the keys, what each is good for and when it was last used.

    Example: [bold]stepsize keys list[/]
    """
    with Client() as client:
        found = client.keys.list()
    if as_json:
        typer.echo(json.dumps([each.model_dump(mode="json") for each in found], indent=2))
    elif found:
        columns = ("id", "name", "owner", "begins with", "scopes", "last used", "expires")
        put(plain_table(columns, [_row(each) for each in found]))
    else:
        notes.print("no keys: make one with `stepsize keys create`")


@keys.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its id, as `stepsize keys list` shows it.")],
) -> None:
    """Make a key worthless, at once.

    Example: [bold]stepsize keys revoke key_...[/]
    """
    with Client() as client:
        client.keys.revoke(key)
    output.print(escape(f"{key} is revoked"))


@app.command(rich_help_panel=PANEL)
def whoami(*, as_json: AsJson = False) -> None:
    """Say who the server takes you for, and what you may do.

    Example: [bold]STEPSIZE_API_KEY=ss_... stepsize whoami[/]
    """
    with Client() as client:
        me = client.whoami()
    if as_json:
        typer.echo(me.model_dump_json(indent=2))
    else:
        output.print(escape(f"{me.name}, {', '.join(me.scopes)} for {me.owner}"), soft_wrap=True)


def _database(data_dir: Path | None) -> str | None:
    if data_dir is None:
        return os.environ.get("STEPSIZE_DATABASE_URL")
    file = data_dir.absolute() / "stepsize.db"
    if not file.exists():
        raise StepsizeError(f"there is no {file}: start `stepsize up` once, which makes it")
    return f"sqlite:///{file}"


def _made_in(database_url: str, body: dict[str, object]) -> Key:
    if find_spec("fastapi") is None:
        raise StepsizeError("making a key in the database needs: pip install 'stepsize[api]'")
    done = subprocess.run(
        # -P: a folder named `api` where the user happens to be is not this one
        [sys.executable, "-P", "-m", "api.newkey", json.dumps(body)],
        env={**os.environ, "STEPSIZE_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StepsizeError(done.stderr.strip())
    return Key.model_validate_json(done.stdout)


def _row(key: Key) -> tuple[str, ...]:
    used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never"
    expires = f"{key.expires_at:%Y-%m-%d}" if key.expires_at else "never"
    return (key.id, key.name, key.owner, key.prefix, " ".join(key.scopes), used, expires)
