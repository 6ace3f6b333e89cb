"""The `stepsize` command: puts its commands together, and turns errors into one line and a code."""

from importlib.metadata import version
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from stepsize import (
    commands_backup,
    commands_compare,
    commands_export,
    commands_jobs,
    commands_judgments,
    commands_keys,
    commands_moves,
    commands_owners,
    commands_plugins,
    commands_recipes,
    commands_service,
    commands_sweeps,
    commands_webhooks,
    commands_workers,
)
from stepsize.errors import StepsizeError
from stepsize.report import OUTCOMES, notes

EPILOG = f"""Exit codes: 0 done, 1 an error or a failed job, 2 a wrong command line,
{OUTCOMES["cancelled"]} a cancelled job, 130 interrupted by Ctrl-C.
STEPSIZE_URL says where the server is (http://127.0.0.1:8000), STEPSIZE_API_KEY its key."""


class _Commands(TyperGroup):
    """Commands whose errors are said, not traced."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # whoever read this has seen enough, as in `stepsize jobs | head`
        except (StepsizeError, OSError) as error:
            notes.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=_Commands,
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _say_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(version("stepsize"))
        raise typer.Exit


@app.callback()
def main(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say it and exit."),
    ] = False,
) -> None:
    """Finds and runs learning-rate schedules.

    Start here: [bold]stepsize demo[/] shows a range test and the training it leads to;
    [bold]stepsize up[/] starts the service on this machine, and then, in another terminal,
    [bold]stepsize range-test[/] finds learning rates, [bold]stepsize recipe[/] a schedule as well.
    Each command has [bold]--help[/], with an example.
    """


for commands in (
    commands_jobs,
    commands_moves,
    commands_compare,
    commands_export,
    commands_sweeps,
    commands_judgments,
    commands_recipes,
    commands_workers,
    commands_plugins,
    commands_keys,
    commands_owners,
    commands_webhooks,
    commands_service,
    commands_backup,
):
    app.add_typer(commands.app)
