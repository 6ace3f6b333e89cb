"""Writes docs/which-schedule.md, and draws its pictures, from what a recipe recorded."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from stepsize.plots import BLUE, GREEN, ORANGE, PURPLE, RED
from sweeps.ranking import Ranked, Row, rank

Found = Mapping[str, Any]

POLICY, SEED = "/schedule/policy", "/seed"
FOLDER = Path(__file__).parents[1] / "docs" / "which-schedule"
RATES = ("base_lr", "max_lr", "fixed_lr")
STYLE = {
    "svg.hashsalt": "stepsize",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def page(found: Found) -> str:
    """The whole page."""
    test = found["range_test"]
    result, spec = test["result"], test["spec"]
    recipe = found["request"]
    ranked = ranking(found)
    trained = sum(each["iterations"] for each in found["trainings"])
    total = trained + result["iterations"]
    longest = max(each["iterations"] for each in found["trainings"])
    seeds = recipe["seeds"]
    return (
        (FOLDER / "page.txt")
        .read_text()
        .format(
            jobs=found["preview"]["jobs"],
            request=_json(recipe),
            steps=", then ".join(
                f"{each['jobs']} of the step `{each['name']}`" for each in found["preview"]["steps"]
            ),
            start=spec["range"]["start"],
            end=spec["range"]["end"],
            planned=spec["range"]["iterations"],
            repeats=spec["repeats"],
            status=result["status"],
            tested=result["iterations"],
            suggested="\n".join(_suggested(found)),
            edge=result["landmarks"]["lr_edge"],
            epochs=recipe["template"]["length"]["epochs"],
            schedules="\n".join(_schedules(found)),
            seeds=", ".join(map(str, seeds)),
            part=round(longest / len(found["trainings"][0]["loss"])),
            ranking="\n".join(_table(ranked)),
            verdicts="\n".join(f"- {_name(each)}: {each.verdict}." for each in ranked),
            conclusion=_conclusion(ranked),
            iterations=total,
            seconds=sum(found["seconds"]),
            machine=found["machine"],
            count={2: "Two", 3: "Three", 5: "Five"}.get(len(seeds), str(len(seeds))),
        )
    )


def _json(recipe: Mapping[str, Any]) -> str:
    """A field a line, and one for each field of the template."""
    lines = {name: json.dumps(value) for name, value in recipe.items()}
    template = (f"{json.dumps(k)}: {json.dumps(v)}" for k, v in recipe["template"].items())
    lines["template"] = "{" + ",\n   ".join(template) + "}"
    return "{" + ",\n ".join(f"{json.dumps(k)}: {v}" for k, v in lines.items()) + "}"


def ranking(found: Found) -> list[Ranked]:
    """The schedules, the best first."""
    rows = [Row(each["parameters"], each["value"]) for each in found["rows"]]
    return rank(rows, found["request"]["objective"]["direction"])


def _suggested(found: Found) -> Iterator[str]:
    suggestion = found["range_test"]["result"]["suggestion"]
    for name in RATES:
        value = suggestion[name]
        taken = [
            f"`{row['parameters'][POLICY]}` as `{pointer.rpartition('/')[2]}`"
            for row in found["rows"]
            for pointer, its in row["parameters"].items()
            if its == value and row["parameters"][SEED] == found["rows"][0]["parameters"][SEED]
        ]
        yield f"| `{name}` | {value:.4g} | {', '.join(taken)} |"


def _schedules(found: Found) -> Iterator[str]:
    yield "| schedule | filled in | iterations |"
    yield "|---|---|---:|"
    given = {each["policy"]: each for each in found["request"]["schedules"]}
    first = found["rows"][0]["parameters"][SEED]
    for row, training in zip(found["rows"], found["trainings"], strict=True):
        parameters = row["parameters"]
        if parameters[SEED] == first:
            own = given[parameters[POLICY]]
            filled = [
                f"`{pointer.rpartition('/')[2]}` {_value(value)}"
                for pointer, value in parameters.items()
                if pointer.startswith(("/schedule/", "/length"))
                and pointer.rpartition("/")[2] not in own
            ]
            yield f"| `{parameters[POLICY]}` | {', '.join(filled)} | {training['iterations']:,} |"


def _table(ranked: Sequence[Ranked]) -> Iterator[str]:
    headers = ("schedule", "seeds", "validation accuracy, %: mean ± sd")
    yield f"| | {' | '.join(headers)} | behind the best, points (95 %) | p (Holm) |"
    yield "|---:|---|---:|---:|---:|---:|"
    for place, each in enumerate(ranked, 1):
        mean = f"{100 * (each.mean or 0):.2f} ± {100 * (each.sd or 0):.2f}"
        told = "| | |"
        against = each.against_best
        if against and against.interval and against.difference is not None:
            low, high = (100 * end for end in against.interval)
            p = "" if against.p is None else f"{against.p:.2g}"
            told = f"| {100 * against.difference:.2f} ({low:.2f} to {high:.2f}) | {p} |"
        yield f"| {place} | {_name(each)} | {each.n} | {mean} {told}"


def _conclusion(ranked: Sequence[Ranked]) -> str:
    best, *rest = ranked
    apart = [_name(each) for each in rest if each.against_best and each.against_best.told_apart]
    alike = [_name(each) for each in rest if each.against_best and not each.against_best.told_apart]
    said = f"So: train with {_name(best)}."
    if apart:
        said += f" It is better than {_listed(apart)}."
    if alike:
        said += f" These seeds do not tell it apart from {_listed(alike)}."
    return said


def _listed(names: Sequence[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} and {last}" if some else last


def _name(each: Ranked) -> str:
    return f"`{each.parameters[POLICY]}`"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        ((unit, count),) = value.items()
        return f"{count:g} {unit}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def draw(found: Found, folder: Path) -> None:
    """Both pictures, the same bytes each time."""
    with mpl.rc_context(STYLE):
        _ramps(found["range_test"], folder / "range-test.svg")
        _curves(found, folder / "curves.svg")


def _ramps(test: Mapping[str, Any], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
    start = max(repeat["loss"][0] for repeat in test["repeats"])
    for number, repeat in enumerate(test["repeats"]):
        label = "each repeat" if number == 0 else None
        axes.semilogx(repeat["lr"], repeat["loss"], color=BLUE, alpha=0.5, lw=0.8, label=label)
    suggestion = test["result"]["suggestion"]
    for name, color in zip(RATES, (GREEN, ORANGE, PURPLE), strict=True):
        axes.axvline(
            suggestion[name], color=color, ls="--", lw=1, label=f"{name} {suggestion[name]:.3g}"
        )
    edge = test["result"]["landmarks"]["lr_edge"]
    axes.axvline(edge, color=RED, lw=1, label=f"edge {edge:.3g}")
    axes.set(
        xlabel="learning rate", ylabel="training loss", ylim=(0, 1.5 * start), xlim=(1e-5, None)
    )
    axes.legend(loc="lower left")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _curves(found: Found, path: Path) -> None:
    names = [each["policy"] for each in found["request"]["schedules"]]
    figure, axes = plt.subplots(
        3, len(names), figsize=(8, 4.6), sharex=True, sharey="row", layout="constrained"
    )
    per_epoch = (
        found["trainings"][0]["iterations"] / found["request"]["template"]["length"]["epochs"]
    )
    for name, (rate, loss, accuracy) in zip(names, axes.T, strict=True):
        own = [
            training
            for row, training in zip(found["rows"], found["trainings"], strict=True)
            if row["parameters"][POLICY] == name
        ]
        n = own[0]["iterations"] / per_epoch
        x = (np.arange(len(own[0]["lr"])) + 0.5) * n / len(own[0]["lr"])
        rate.plot(x, own[0]["lr"], color=BLUE, lw=1)
        _band(loss, x, [each["loss"] for each in own], ORANGE)
        at = np.array(own[0]["at"]) / per_epoch
        _band(accuracy, at, [each["val_accuracy"] for each in own], GREEN)
        rate.set_title(name)
        accuracy.set_xlabel("epoch")
    for axis, label in zip(
        axes[:, 0], ("learning rate", "training loss", "validation accuracy"), strict=True
    ):
        axis.set_ylabel(label)
    axes[1, 0].set_ylim(top=min(axes[1, 0].get_ylim()[1], 1.0))
    axes[2, 0].set_ylim(bottom=max(axes[2, 0].get_ylim()[0], 0.7))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _band(axes: Any, x: np.ndarray, runs: Sequence[Sequence[float]], color: str) -> None:
    every = np.array(runs, dtype=np.float64)
    axes.fill_between(x, every.min(axis=0), every.max(axis=0), color=color, alpha=0.3, lw=0)
    axes.plot(x, every.mean(axis=0), color=color, lw=1)
