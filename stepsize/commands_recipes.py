"""The command that asks for a recipe: the learning rates first, then which schedule is best."""

import re
from typing import Annotated, Any, Literal

import typer

from stepsize.commands_jobs import Params
from stepsize.commands_sweeps import PANEL, asked
from stepsize.following import AsJson, pairs
from stepsize.specs import recipe as recipe_spec

app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def recipe(  # noqa: PLR0913 - one option for each field of the spec
    *,
    model: Annotated[str, typer.Option(help="Such as mlp, lenet, resnet.", show_default=False)],
    data: Annotated[str, typer.Option(help="Such as digits, fashion-mnist.", show_default=False)],
    optimizer: Annotated[str, typer.Option(help="Such as sgd, adam.", show_default=False)],
    batch_size: Annotated[
        int, typer.Option(min=1, help="Examples of one update.", show_default=False)
    ],
    length: Annotated[
        str,
        typer.Option(
            metavar="N|Ne",
            help="Of each training: 3000 iterations, or 30e: epochs.",
            show_default=False,
        ),
    ],
    model_param: Params = None,
    data_param: Params = None,
    optimizer_param: Params = None,
    schedule: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="One to compare; repeat for more. Five without."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How many for each schedule.")] = 3,
    find: Annotated[
        Literal["range_test", "coarse_to_fine"], typer.Option(help="How learning rates are found.")
    ] = "range_test",
    metric: Annotated[
        str, typer.Option(help="What they are judged by, as val_loss or val_accuracy.")
    ] = "val_loss",
    parallel: Annotated[
        int | None, typer.Option(min=1, help="The most jobs at one time; all without.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Any other field of the trainings."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="A name to find it by.")] = None,
    preview: Annotated[
        bool, typer.Option("--preview", "--dry-run", help="Say what it would run; queue nothing.")
    ] = False,
    watch: Annotated[bool, typer.Option(help="Follow it to its end.")] = True,
    as_json: AsJson = False,
) -> None:
    r"""Find the learning rates, train under each schedule with several seeds, and compare.

    What has no option here can be written to a file, for [bold]stepsize sweep FILE[/].

    Example:
    [bold]stepsize recipe --model mlp --data digits --optimizer sgd --batch-size 32 --length 30e[/]
    """
    about: dict[str, Any] = {
        "name": name,
        "find": {"name": find},
        "seeds": list(range(seeds)),
        "objective": {
            "metric": metric,
            "direction": "maximize" if metric.endswith("accuracy") else "minimize",
        },
        "budget": {"parallel": parallel},
    }
    if schedule:
        about["schedules"] = [{"policy": each} for each in schedule]
    spec = recipe_spec(
        {"name": model, "params": pairs(model_param, "=")},
        {"name": data, "params": pairs(data_param, "=")},
        {"name": optimizer, "params": pairs(optimizer_param, "=")},
        about=about,
        batch_size=batch_size,
        length=_length(length),
        **pairs(set_, "="),
    )
    asked(spec, preview=preview, watch=watch and not preview, as_json=as_json)


def _length(text: str) -> dict[str, float]:
    found = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?)e", text)
    if found is None:
        raise typer.BadParameter(f"--length {text}: as 3000, iterations, or 30e, epochs")
    iterations, epochs = found.groups()
    return {"iterations": int(iterations)} if iterations else {"epochs": float(epochs)}
