"""Job specs written in one call, or read from a JSON, YAML or TOML file."""

import json
import re
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Required, TypedDict, Unpack

import yaml

from stepsize.errors import StepsizeError

Spec = dict[str, Any]
Named = str | Mapping[str, Any]
"""A model, dataset or optimizer: its name, or a mapping of its name and parameters."""


class Fields(TypedDict, total=False):
    """What a job of either kind takes besides its parts; the server knows what each may be."""

    batch_size: Required[int]
    name: str | None
    tags: Mapping[str, str]
    seed: int
    record: Sequence[Literal["accuracy", "grad_norm", "probe_loss"]]
    evaluate: Mapping[str, Any] | None
    precision: Literal["fp32", "tf32", "bf16"]
    lr_groups: Mapping[str, Any] | None
    compile: bool
    channels_last: bool
    cuda_graphs: bool
    accumulation: int
    clipping: Mapping[str, Any] | None
    threads: int | None
    loader: Mapping[str, Any] | None
    population: bool
    max_seconds: float | None
    priority: int
    queue: str
    needs: Mapping[str, Any] | None
    processes: int | None
    criterion: Mapping[str, Any] | None
    metrics: Sequence[Mapping[str, Any]]
    transforms: Sequence[Mapping[str, Any]]


class RangeTestFields(Fields, total=False):
    """What a range test takes besides its parts."""

    range: Mapping[str, Any]
    repeats: int
    extensions: int
    loss: Literal["batch", "probe", "validation"]
    checks: Sequence[Literal["curvature", "line_search"]]


class TrainingFields(Fields, total=False):
    """What a training takes besides its parts, but for `from`: see `Client.extend`."""

    schedule: Required[Mapping[str, Any]]
    length: Required[Mapping[str, Any]]
    snapshots: Mapping[str, Any] | Literal["cycle_end"] | None


def range_test(
    model: Named, data: Named, optimizer: Named, **fields: Unpack[RangeTestFields]
) -> Spec:
    """The spec of a range test; `fields` are those of the API: batch_size, range, repeats, ..."""
    return _job("range_test", model, data, optimizer, fields)


def training(model: Named, data: Named, optimizer: Named, **fields: Unpack[TrainingFields]) -> Spec:
    """The spec of a training; `fields` are those of the API: batch_size, schedule, length, ..."""
    return _job("training", model, data, optimizer, fields)


def recipe(
    model: Named,
    data: Named,
    optimizer: Named,
    *,
    about: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Spec:
    """The spec of a recipe: find the learning rates, train under each schedule, compare.

    `fields` are those of a training without its schedule: batch_size, length, ...; `about` are
    those of the recipe beside its template: name, find, schedules, seeds, objective, budget.
    """
    template = _job("training", model, data, optimizer, fields)
    return {"kind": "recipe", "template": template, **(about or {})}


def _job(
    kind: str, model: Named, data: Named, optimizer: Named, fields: Mapping[str, object]
) -> Spec:
    parts = {"model": model, "data": data, "optimizer": optimizer}
    named = {
        field: {"name": part} if isinstance(part, str) else dict(part)
        for field, part in parts.items()
    }
    return {"kind": kind, **named, **fields}


class SweepFields(TypedDict, total=False):
    """What a sweep takes besides its template and its space."""

    name: str | None
    constraints: Sequence[str]
    sampler: Mapping[str, Any]
    objective: Mapping[str, Any]
    budget: Mapping[str, Any]
    stopping: Mapping[str, Any] | None


def sweep(
    template: Mapping[str, Any], space: Mapping[str, Any], **fields: Unpack[SweepFields]
) -> Spec:
    """The spec of a sweep: a job, and by JSON pointer into it what its fields may be."""
    return {"kind": "sweep", "template": dict(template), "space": dict(space), **fields}


def spec_of(given: Mapping[str, Any] | str | Path) -> Spec:
    """A spec, which may be in a file.

    Raises:
        StepsizeError: it is neither, or the file cannot be read.
    """
    if isinstance(given, str | Path):
        return read_spec(given)
    try:
        return dict(given)
    except (TypeError, ValueError) as error:
        what = type(given).__name__
        raise StepsizeError(
            f"a spec is a mapping of fields, or the path of a file: not {what}"
        ) from error


def read_spec(path: str | Path) -> Spec:
    """The spec in a file, by its ending; `-` reads JSON, TOML or YAML from standard input.

    Raises:
        StepsizeError: the file cannot be read, or is not an object that JSON can carry.
    """
    if str(path) == "-":
        return parse_spec(sys.stdin.read(), source="standard input")
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise StepsizeError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StepsizeError(f"{file} is not UTF-8 text: {error.reason}") from error
    parser = _PARSERS.get(file.suffix.lower())
    return parse_spec(text, source=str(file), parsers=(parser,) if parser else _ANY)


def parse_spec(
    text: str, *, source: str, parsers: tuple[Callable[[str], object], ...] | None = None
) -> Spec:
    """The object that the first parser to understand `text` makes of it."""
    problem = "is empty"
    for parse in parsers or _ANY:
        try:
            value = parse(text)
        except (ValueError, yaml.YAMLError) as error:
            problem = f"cannot be parsed: {error}"
            continue
        if isinstance(value, dict):
            return _as_json(value, source)
        problem = f"must hold an object of fields, not {type(value).__name__}"
    raise StepsizeError(f"{source} {problem}")


def _as_json(value: dict[str, Any], source: str) -> Spec:
    try:
        spec: Spec = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise StepsizeError(f"{source} holds what JSON cannot carry: {error}") from error
    return spec


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers and booleans: `1e-7` is a number, `on` and `2026-01-31` are text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the way PyYAML is told
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag.rpartition(":")[2] not in {"bool", "float", "timestamp"}
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+0123456789."),
)


def _yaml(text: str) -> object:
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader with fewer types


_PARSERS: dict[str, Callable[[str], object]] = {
    ".json": json.loads,
    ".toml": tomllib.loads,
    ".yaml": _yaml,
    ".yml": _yaml,
}
_ANY = (json.loads, tomllib.loads, _yaml)
