"""Tries the components of installed packages out on the CPU: `python -m worker.trial`."""

import argparse
import io
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from spec.catalogue import qualified
from spec.jobs import JOB_SPEC
from spec.settings import PREFIX
from worker.engine import Block, Checkpoint, EngineError, Event, Pace, State, run
from worker.engine.plugins import ME, Installed, Plugin, installed

CPU = torch.device("cpu")
UPDATES, STOP = 6, 3
PACE = Pace(first=60, longest=60, points=STOP)
"""A block, after which there may be a checkpoint, every three updates."""

FIELDS = {"model": "model", "data": "data", "optimizer": "optimizer", "loss": "criterion"}
"""Kind -> the field of a job that names one; metrics are a list."""


class Wrong(Exception):  # noqa: N818 - it is what is said of a component
    """What is wrong with a component, in plain words."""


@dataclass(frozen=True)
class Setting:
    """What the components are tried with."""

    shape: tuple[int, int, int]
    classes: int
    params: Mapping[str, Any]
    data_dir: Path


def main() -> None:
    """Lists or checks, and exits with 1 where something is wrong."""
    arguments = _arguments()
    found = installed()
    if arguments.command == "list":
        for plugin in found.plugins:
            _say(f"{plugin.kind} {plugin.name} ({plugin.package} {plugin.version})")
        for each in found.left_out:
            _say(f"left out: {each}")
        if not found.plugins and not found.left_out:
            _say("no installed package offers any: stepsize plugin new NAME writes one")
        return
    setting = Setting(
        arguments.shape, arguments.classes, dict(arguments.params), arguments.data_dir
    )
    sys.exit(0 if check(found, arguments.package, setting) else 1)


def check(found: Installed, package: str | None, setting: Setting) -> bool:
    """Tries the components of a package, or of all, and says how they fare; whether all is well."""

    def asked(name: str) -> bool:
        return name == package if package else name != ME

    plugins = [each for each in found.plugins if asked(each.package)]
    left_out = [each for each in found.left_out if asked(each.package)]
    if not plugins and not left_out:
        known = ", ".join(sorted({each.package for each in found.plugins})) or "none"
        which = f" called {package}" if package else ""
        _say(f"no installed package{which} offers anything; those that do: {known}")
        return False
    well = True
    for plugin in plugins:
        _say(f"{plugin.kind} {plugin.name} ({plugin.package} {plugin.version})")
        try:
            for good in trial(plugin, setting):
                _say(f"  ok     {good}")
        except Wrong as error:
            well = False
            _say(f"  WRONG  {error}")
    for each in left_out:
        well = False
        _say(f"{each.kind} {each.name} ({each.package})\n  WRONG  {each.reason}")
    return well


def trial(plugin: Plugin, setting: Setting) -> Iterator[str]:
    """What is well with a component, one thing after the other.

    Raises:
        Wrong: something is not.
    """
    params = setting.params.get(plugin.name, {})
    missing = [
        name
        for name, each in plugin.params.model_fields.items()
        if each.is_required() and name not in params
    ]
    if missing:
        raise Wrong(
            f"{', '.join(missing)} must be given: --params"
            f" '{plugin.name}={json.dumps(dict.fromkeys(missing, '...'))}'"
        )
    yield f"takes {', '.join(plugin.params.model_fields) or 'no parameters'}"
    job = _job(plugin, params, setting)
    try:
        go = partial(run, JOB_SPEC.validate_python(job), device=CPU, data_dir=setting.data_dir)
    except ValidationError as error:
        raise Wrong(f"cannot be named in a job: {error}") from error
    whole = _followed(partial(go, pace=PACE))
    losses = whole.columns["loss"]
    if not np.isfinite(losses).all():
        raise Wrong(f"the loss of update {int(np.isfinite(losses).argmin())} is not finite")
    yield f"{len(losses)} batches forward and back, losses from {losses[0]:.4g} to {losses[-1]:.4g}"
    _require_same(
        whole,
        _followed(partial(go, pace=PACE)),
        "two trainings from one seed differ: draw random numbers from torch's global generator"
        " alone, or from one of your own with a fixed seed",
    )
    yield "two trainings from one seed are the same, to the bit"
    _require_same(whole, _in_two(go), "it goes on from a checkpoint as another training would")
    yield "it goes on from a checkpoint as if it had never stopped, to the bit"


@dataclass(frozen=True)
class Run:
    """What a training has recorded: columns, each with all rows."""

    columns: dict[str, Any]
    checkpoint: State | None = None


def _job(plugin: Plugin, params: Mapping[str, Any], setting: Setting) -> dict[str, Any]:
    shape = {"shape": list(setting.shape), "classes": setting.classes, "examples": 64}
    name = qualified(plugin.package, plugin.name)
    component = {"name": name, "params": dict(params)}
    field = FIELDS.get(plugin.kind)
    return {
        "kind": "training",
        "model": {"name": "mlp", "params": {"hidden": [16]}},
        "data": {"name": "synthetic", "params": shape},
        "batch_size": 8,
        "optimizer": {"name": "sgd"},
        "schedule": {"policy": "constant", "lr": 0.001},
        "length": {"iterations": UPDATES},
        "evaluate": {"every": {"iterations": STOP}},
        **({field: component} if field else {"metrics": [component]}),
    }


def _followed(start: Callable[[], Iterator[Event]], *, until: int | None = None) -> Run:
    blocks: list[Block] = []
    checkpoint = None
    try:
        for event in start():
            if isinstance(event, Block):
                blocks.append(event)
            elif isinstance(event, Checkpoint) and event.iteration == until:
                checkpoint = _written(event.state)
                break
    except EngineError as error:
        raise Wrong(error.detail) from error
    except Exception as error:
        raise Wrong(f"{type(error).__name__}: {error}") from error
    names = dict.fromkeys(name for each in blocks for name in each.columns if name != "iteration")
    return Run(
        {
            name: np.concatenate([each.columns[name] for each in blocks if name in each.columns])
            for name in names
        },
        checkpoint,
    )


def _in_two(go: Callable[..., Iterator[Event]]) -> Run:
    first = _followed(partial(go, pace=PACE, due=lambda: True), until=STOP)
    second = _followed(partial(go, pace=PACE, resume=first.checkpoint))
    return Run(
        {name: np.concatenate([each, second.columns[name]]) for name, each in first.columns.items()}
    )


def _written(state: State) -> State:
    """The state as it comes back from a file."""
    content = io.BytesIO()
    try:
        torch.save(state, content)
        content.seek(0)
        found: State = torch.load(content, weights_only=True)
    except Exception as error:
        raise Wrong(f"its state cannot be kept in a checkpoint: {error}") from error
    return found


def _require_same(whole: Run, other: Run, otherwise: str) -> None:
    for name, column in whole.columns.items():
        if not np.array_equal(column, other.columns[name], equal_nan=True):
            raise Wrong(f"{otherwise} ({name} differs)")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="stepsize plugin")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    trying = commands.add_parser("check")
    trying.add_argument("package", nargs="?", help="its name; all without")
    trying.add_argument(
        "--shape", type=_shape, default=(3, 32, 32), help="of an example, as 1,28,28"
    )
    trying.add_argument("--classes", type=int, default=10)
    trying.add_argument(
        "--params",
        type=_given,
        action="append",
        default=[],
        metavar="NAME=JSON",
        help="parameters of a component",
    )
    trying.add_argument(
        "--data-dir", type=Path, default=Path(), help=f"as {PREFIX}DATA_DIR of a worker"
    )
    return parser.parse_args()


def _shape(text: str) -> tuple[int, ...]:
    found = tuple(int(each) for each in text.split(","))
    if len(found) != 3 or math.prod(found) <= 0:  # noqa: PLR2004 - channels, height, width
        raise argparse.ArgumentTypeError("give channels, height and width, as 3,32,32")
    return found


def _given(text: str) -> tuple[str, Any]:
    name, _, values = text.partition("=")
    try:
        return name, json.loads(values)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"{values!r} is no JSON: {error}") from error


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command speaks to its terminal


if __name__ == "__main__":
    main()
