"""The commands that copy the data of `stepsize up`, and put a copy back."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from stepsize.datadir import held
from stepsize.errors import StepsizeError
from stepsize.report import notes, output

app = typer.Typer()

PANEL = "Service"

DataDir = Annotated[
    Path, typer.Option(envvar="STEPSIZE_DATA_DIR", help="The directory of `stepsize up`.")
]


@app.command(rich_help_panel=PANEL)
def backup(
    directory: Annotated[Path, typer.Argument(help="A new or empty directory for the copy.")],
    *,
    data_dir: DataDir = Path("stepsize-data"),
) -> None:
    """Copy all data of `stepsize up`, while it runs or not.

    Database, checkpoints, snapshots and data sets, as of one moment; jobs go on meanwhile. For a
    service on PostgreSQL, see docs/operations.md.

    Example: [bold]stepsize backup backups/$(date +%F) --data-dir ~/stepsize[/]
    """
    done = _run("backup", data_dir, directory)
    for name in done["lost"]:
        notes.print(escape(f"not in the backup, since it was not there: checkpoint {name}"))
    _say(done, f"copied to {directory}")


@app.command(rich_help_panel=PANEL)
def restore(
    directory: Annotated[Path, typer.Argument(help="What `stepsize backup` has made.")],
    *,
    data_dir: DataDir = Path("stepsize-data"),
) -> None:
    """Put a backup into a data directory that has no database yet.

    `stepsize up --data-dir` then goes on from there: jobs that ran go on from their checkpoints.

    Example: [bold]stepsize restore backups/2026-01-31 --data-dir ~/stepsize[/]
    """
    with held(data_dir.absolute(), url="stepsize restore"):
        done = _run("restore", directory, data_dir)
    _say(done, f"restored into {data_dir}")


def _run(action: str, source: Path, to: Path) -> dict[str, Any]:
    if find_spec("sqlalchemy") is None:
        raise StepsizeError(f"{action} needs: pip install 'stepsize[store]'")
    done = subprocess.run(
        # -P: a folder named `store` where the user happens to be is not this one
        [sys.executable, "-P", "-m", "store.backups", action, str(source), str(to)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StepsizeError(done.stderr.strip())
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _say(done: dict[str, Any], what: str) -> None:
    output.print(
        escape(
            f"{what}: {done['files']} file{'s' * (done['files'] != 1)}, {done['bytes']:,} bytes"
        ),
        soft_wrap=True,
    )
