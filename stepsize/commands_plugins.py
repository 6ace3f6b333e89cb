"""The commands for packages of one's own models and data: begin one, try it out, list them."""

import re
from importlib import resources
from pathlib import Path
from string import Template
from typing import Annotated

import typer
from rich.markup import escape

from stepsize.becoming import PASS_ON, become
from stepsize.errors import StepsizeError
from stepsize.report import output

app = typer.Typer()
plugin = typer.Typer(no_args_is_help=True, help="Packages with models and data of your own.")
app.add_typer(plugin, name="plugin", rich_help_panel="Plug-ins")

NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"

FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "init.txt": "$module/__init__.py",
    "models.txt": "$module/models.py",
    "data.txt": "$module/data.py",
    "test.txt": "tests/test_$module.py",
}
"""Template -> where it is written to."""


@plugin.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the package, as my-lab: the folder gets it too.")],
    *,
    to: Annotated[Path, typer.Option("--to", help="Where to make the folder.")] = Path(),
) -> None:
    """Write a package that works: a model, a dataset, tests, a README.

    Example: [bold]stepsize plugin new my-lab[/]
    """
    if re.fullmatch(NAME, name) is None or len(name) > 40:  # noqa: PLR2004 - with -stripes, 64
        raise StepsizeError(
            f"{name!r} cannot be the name: take small letters, digits and single hyphens, as my-lab"
        )
    folder = to / name
    if folder.exists():
        raise StepsizeError(f"{folder} is there already: take another name, or remove it")
    words = {"name": name, "module": name.replace("-", "_")}
    templates = resources.files("stepsize") / "plugin_template"
    for template, place in FILES.items():
        path = folder / Template(place).substitute(words)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (templates / template).read_text(encoding="utf-8")
        path.write_text(Template(text).substitute(words), encoding="utf-8")
    output.print(f"written to {escape(str(folder))}; install it and try it out:", soft_wrap=True)
    output.print(f"  pip install -e {escape(str(folder))}", soft_wrap=True)
    output.print(f"  stepsize plugin check {name}")


@plugin.command(context_settings=PASS_ON)
def check(ctx: typer.Context) -> None:
    """Try the components of installed packages on the CPU, and say what is wrong.

    Each is trained with for a few updates: forward and back, twice from one seed, and again from
    a checkpoint. Takes the name of a PACKAGE, or tries them all; --help of the arguments:
    [bold]stepsize plugin check -h[/].

    Example: [bold]stepsize plugin check my-lab[/]
    """
    become("worker.trial", ["check", *ctx.args], needs="torch", extra="worker")


@plugin.command("list", context_settings=PASS_ON)
def list_(ctx: typer.Context) -> None:
    """List the components that packages offer here, and those that are left out, with the reason.

    `stepsize workers` and the catalogue of a server say what its workers offer.

    Example: [bold]stepsize plugin list[/]
    """
    become("worker.trial", ["list", *ctx.args], needs="torch", extra="worker")
