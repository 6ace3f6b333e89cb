# noqa: INP001 - a script, not a package
"""Writes docs/schedules.md and its pictures from the policies themselves: run it after a change."""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, TypeAdapter

from schedules import POLICIES, Auto, Hypergradient, Plateau, Policy, Schedule
from schedules.schedule import SUGGESTED
from schedules.values import F64

DOCS = Path(__file__).parent
PAGE = DOCS / "schedules.md"
PICTURES = DOCS / "policies"
NOTES = tomllib.loads((PICTURES / "notes.toml").read_text())
RUN = 1000
GUARD = 1e6
"""Limits from here on only guard against slips, and are left out."""
POLICY: TypeAdapter[Policy] = TypeAdapter(Policy)

INTRODUCTION = (PICTURES / "introduction.md").read_text()
SIMULATED = {
    "plateau": "The loss is made up: at each look it comes a third of the way to 8 lr + 0.05.",
    "hypergradient": "Gradient descent on the quadratic (x^2 + y^2/4)/2 from (1, 1).",
    "auto": "One run of the range test, and the training if it suggested a peak of 0.4.",
}


def name_of(policy: type[Schedule]) -> str:
    """The literal that tells it apart."""
    name: str = policy.model_fields["policy"].default
    return name


def page() -> str:
    """All of docs/schedules.md."""
    return "\n".join([INTRODUCTION, *_overview(), *map(_section, POLICIES)])


def _overview() -> Iterator[str]:
    yield "| policy | | cycles | from a range test |"
    yield "|---|---|---|---|"
    for policy in POLICIES:
        name = name_of(policy)
        rates = [
            f"`{field}`: `{SUGGESTED[field]}`"
            for field in policy.model_fields
            if field in SUGGESTED
        ]
        link = f"[`{name}`](#{name})"
        cycles = "yes" if policy.cyclical else ""
        yield f"| {link} | {_summary(policy)} | {cycles} | {', '.join(rates)} |"
    yield ""


def _summary(policy: type[Schedule]) -> str:
    return (policy.__doc__ or "").split("\n")[0].rstrip(".")


def _section(policy: type[Schedule]) -> str:
    name, note = name_of(policy), NOTES[name_of(policy)]
    said = " ".join((policy.__doc__ or "").split("\n\n")[0].split())
    more = [" ".join(each.split()) for each in (policy.__doc__ or "").split("\n\n")[1:]]
    parts = [
        f"## {name}",
        f"**{policy.title}.** {' '.join([said, *filter(None, more)])}",
        f"![{policy.title}: the learning rate by iteration](policies/{name}.svg)",
        *([SIMULATED[name]] if name in SIMULATED else []),
        f"```text\n{policy.formula}\n```",
        f"Source: <{policy.source}>",
        f"**When.** {note['use']}",
        *([f"**What others get wrong.** {note['wrong']}"] if "wrong" in note else []),
        "\n".join(_fields(policy)),
        f"```json\n{json.dumps(note['example'])}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _fields(policy: type[Schedule]) -> Iterator[str]:
    schema = policy.model_json_schema()
    required = set(schema.get("required", ()))
    yield "| field | takes | default | |"
    yield "|---|---|---|---|"
    for field, about in schema["properties"].items():
        if field == "policy" or (field == "warmup" and field not in required):
            continue
        default = "required" if field in required else f"`{_shown(policy, field)}`"
        yield f"| `{field}` | {_takes(about)} | {default} | {about['description']} |"


def _shown(policy: type[Schedule], field: str) -> str:
    default = policy.model_fields[field].default
    if isinstance(default, Schedule):
        default = {"policy": default.policy, **default.model_dump(exclude_defaults=True)}
    elif isinstance(default, BaseModel):
        default = default.model_dump()
    return json.dumps(default)


_OBJECTS = {
    "Epochs": '`{"epochs": x}`',
    "FromRangeTest": '`{"range_test": ...}`',
    "Fraction": '`{"fraction": x}`',
    "Piece": '`{"schedule": ..., "length": ...}`',
    "Ramp": "a ramp",
}


def _takes(about: dict[str, Any]) -> str:
    """What JSON a property takes, in words."""
    for key in ("anyOf", "oneOf"):
        if "discriminator" in about:
            return "a schedule"
        if key in about:
            return " or ".join(_takes(each) for each in about[key])
    if "$ref" in about:
        return _OBJECTS[about["$ref"].rpartition("/")[2]]
    if "enum" in about:
        return ", ".join(f"`{each}`" for each in about["enum"])
    if about["type"] == "array":
        return f"a list of {_takes(about['items'])}"
    return about["type"] + _limits(about)


def _limits(about: dict[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    found = [
        f"{sign} {about[key]:g}"
        for key, sign in signs.items()
        if key in about and about[key] < GUARD
    ]
    return f" {', '.join(found)}" if found else ""


@dataclass(frozen=True)
class Line:
    """A curve of a picture."""

    label: str
    t: F64
    y: F64


@dataclass(frozen=True)
class Picture:
    """Rates by iteration, and one more quantity on an axis of its own."""

    rates: list[Line]
    beside: Line | None = None
    logarithmic: bool = False


def picture(policy: type[Schedule]) -> Picture:
    """The example of a policy with its variants, or a run where the rate depends on one."""
    note = NOTES[name_of(policy)]
    schedule = POLICY.validate_python(note["example"])
    match schedule:
        case Plateau():
            return _plateau(schedule)
        case Hypergradient():
            return _hypergradient(schedule)
        case Auto():
            return _auto(schedule)
    t = np.arange(RUN, dtype=np.float64)
    momentum = schedule.momentum_at(t, iterations=RUN)
    variants = [{}, *note.get("variants", [])]
    told_apart = sorted({key for changes in variants for key in changes})
    rates = []
    for changes in variants:
        shown = POLICY.validate_python({**note["example"], **changes})
        values = [f"{key} {str(getattr(shown, key)).lower()}" for key in told_apart]
        rates.append(Line(", ".join(values) or "lr", t, shown.lr_at(t, iterations=RUN)))
    return Picture(rates, None if momentum is None else Line("momentum", t, momentum))


def _plateau(schedule: Plateau) -> Picture:
    every, state, loss = 20, schedule.begin(), 2.0
    rates, losses = [], []
    for _ in range(RUN // every):
        rates += [state.lr] * every
        loss += (8 * state.lr + 0.05 - loss) / 3
        losses.append(loss)
        state = schedule.after(state, loss)
    looks = np.arange(every, RUN + 1, every, dtype=np.float64)
    lr = Line("lr", np.arange(RUN, dtype=np.float64), np.array(rates))
    return Picture([lr], Line("val_loss", looks, np.array(losses)))


def _hypergradient(schedule: Hypergradient) -> Picture:
    curvature, at, last = np.array([1.0, 0.25]), np.ones(2), np.zeros(2)
    lr = float(schedule.lr_at(0, iterations=1))
    rates, losses = [], []
    for _ in range(RUN):
        gradient = curvature * at
        lr = max(0.0, lr + schedule.step_for("sgd") * float(gradient @ last))
        rates.append(lr)
        losses.append(float(curvature @ at**2) / 2)
        at, last = at - lr * gradient, gradient
    t = np.arange(RUN, dtype=np.float64)
    return Picture([Line("lr", t, np.array(rates))], Line("loss", t, np.array(losses)))


def _auto(schedule: Auto) -> Picture:
    found = schedule.following({"base_lr": 0.1, "max_lr": 0.4, "fixed_lr": 0.2})
    ramp = np.arange(schedule.range.iterations, dtype=np.float64)
    t = np.arange(RUN, dtype=np.float64)
    test = Line("range test", ramp, schedule.range.lr_at(ramp))
    training = Line("training", len(ramp) + t, found.lr_at(t, iterations=RUN))
    return Picture([test, training], logarithmic=True)


def draw(shown: Picture, path: Path) -> None:
    """The picture as SVG, the same bytes each time."""
    import matplotlib as mpl  # noqa: PLC0415 - only where something is drawn
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    settled = {"svg.hashsalt": "stepsize", "svg.fonttype": "none", "font.size": 9}
    with mpl.rc_context(settled):
        figure = Figure(figsize=(6.4, 2.4), layout="constrained")
        _plot(figure, shown)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _plot(figure: Any, shown: Picture) -> None:
    axes = figure.subplots()
    for i, line in enumerate(shown.rates):
        axes.plot(line.t, line.y, color=f"C{i}", lw=1.6 if i == 0 else 1, label=line.label)
    axes.set(xlabel="iteration", ylabel="learning rate")
    if shown.logarithmic:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    lines = list(axes.lines)
    if shown.beside is not None:
        other = axes.twinx()
        lines += other.plot(shown.beside.t, shown.beside.y, color="0.55", lw=1, ls="--")
        lines[-1].set_label(shown.beside.label)
        other.set_ylabel(shown.beside.label)
        other.spines["top"].set_visible(False)
    if len(lines) > 1:
        figure.legend(handles=lines, loc="outside upper center", ncols=len(lines), frameon=False)


def main() -> None:
    """Write everything."""
    PAGE.write_text(page())
    for policy in POLICIES:
        draw(picture(policy), PICTURES / f"{name_of(policy)}.svg")


if __name__ == "__main__":
    main()
