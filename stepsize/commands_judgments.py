"""The commands that judge what came of a sweep: ranked, what matters, along parameters, a pick."""

from typing import Annotated

import typer

from stepsize.client import Client
from stepsize.columns import as_csv, short
from stepsize.errors import StepsizeError
from stepsize.following import AsJson
from stepsize.judgment_report import (
    Parts,
    importance_parts,
    marginal_parts,
    pair_parts,
    pick_parts,
    ranking_parts,
)
from stepsize.judgments import Judgment
from stepsize.report import put
from stepsize.sweep_report import is_sweep
from stepsize.sweep_values import Sweep

app = typer.Typer()

PANEL = "Sweeps"

SweepId = Annotated[
    str, typer.Argument(metavar="ID", help="The sweep: swp_...", show_default=False)
]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV, with every digit.")]
Repeated = Annotated[
    list[str] | None,
    typer.Option(
        "--repeated",
        metavar="POINTER",
        help="A field that only repeats a configuration, /seed without; may be given again.",
    ),
]


@app.command("sweep-ranking", rich_help_panel=PANEL)
def sweep_ranking(
    sweep: SweepId,
    *,
    limit: Annotated[int, typer.Option(min=1, help="The most to print.")] = 20,
    repeated: Repeated = None,
    as_json: AsJson = False,
    as_table: AsCsv = False,
) -> None:
    """Rank the configurations of a sweep over their seeds, and say which are told apart.

    Each is compared with the best over the seeds that both have; p is that of a paired t-test,
    corrected for how many are compared.

    Example: [bold]stepsize sweep-ranking ID --csv > ranking.csv[/]
    """
    with Client() as client:
        found = client.sweeps.ranking(_checked(sweep), repeated=repeated or ["/seed"], limit=limit)
    _say(found, ranking_parts(found, sweep), as_json=as_json, as_table=as_table)


@app.command("sweep-importance", rich_help_panel=PANEL)
def sweep_importance(
    sweep: SweepId,
    *,
    by_value: Annotated[
        bool, typer.Option("--by-value", help="Of the values, not of their ranks.")
    ] = False,
    as_json: AsJson = False,
    as_table: AsCsv = False,
) -> None:
    """Say which parameters of a sweep matter: the share of the differences that goes with each.

    Example: [bold]stepsize sweep-importance swp_...[/]
    """
    with Client() as client:
        found = client.sweeps.importance(_checked(sweep), by="value" if by_value else "rank")
    _say(found, importance_parts(found, sweep), as_json=as_json, as_table=as_table)


@app.command("sweep-marginals", rich_help_panel=PANEL)
def sweep_marginals(
    sweep: SweepId,
    parameters: Annotated[
        list[str] | None,
        typer.Argument(metavar="PARAMETER", help="As max_lr or /schedule/max_lr; all without."),
    ] = None,
    *,
    together: Annotated[
        bool, typer.Option("--together", help="Of two parameters: the one against the other.")
    ] = False,
    as_json: AsJson = False,
    as_table: AsCsv = False,
) -> None:
    """Show what the values of a sweep are along each of its parameters, or along two together.

    Example: [bold]stepsize sweep-marginals ID max_lr momentum --together[/]
    """
    with Client() as client:
        pointers = _pointers(client.sweeps.get(_checked(sweep)), parameters or [])
        if together:
            if len(pointers) != 2:  # noqa: PLR2004 - a table has two sides
                raise typer.BadParameter("--together wants two parameters")
            pair = client.sweeps.pairs(sweep, *pointers)
            _say(pair, pair_parts(pair, sweep), as_json=as_json, as_table=as_table)
            return
        found = client.sweeps.marginals(sweep, *pointers)
    _say(found, marginal_parts(found, sweep), as_json=as_json, as_table=as_table)


@app.command("sweep-pick", rich_help_panel=PANEL)
def sweep_pick(
    sweep: SweepId,
    *,
    repeated: Repeated = None,
    as_json: AsJson = False,
    as_table: AsCsv = False,
) -> None:
    """Pick from a sweep of range tests the setting to train with, and say why.

    Example: [bold]stepsize sweep-pick swp_...[/]
    """
    with Client() as client:
        found = client.sweeps.pick(_checked(sweep), repeated=repeated or ["/seed"])
    _say(found, pick_parts(found), as_json=as_json, as_table=as_table)


def _checked(sweep: str) -> str:
    if not is_sweep(sweep):
        raise StepsizeError(f"{sweep} is no sweep: `stepsize sweeps` lists them")
    return sweep


def _pointers(sweep: Sweep, given: list[str]) -> list[str]:
    """What is meant by each name: the one parameter that ends like it."""
    space = list(sweep.spec.get("space", {}))
    found = []
    for name in given:
        ends = [pointer for pointer in space if pointer.endswith(f"/{name.lstrip('/')}")]
        if name.startswith("/"):
            found.append(name)
        elif len(ends) == 1:
            found += ends
        else:
            known = ", ".join(short(space)) or "none"
            raise StepsizeError(f"{name} names no one parameter of the sweep: {known}")
    return found


def _say(found: Judgment, parts: Parts, *, as_json: bool, as_table: bool) -> None:
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    elif as_table:
        typer.echo(as_csv(found.rows), nl=False)
    else:
        for part in parts:
            put(part)
