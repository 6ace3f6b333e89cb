"""Components of installed packages: found by their entry points, checked by their signatures."""

import inspect
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Self, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from spec.catalogue import BUILT_INS, Kind, Offered, qualified
from spec.components import ComponentParams
from spec.values import Params

log = logging.getLogger(__name__)

GROUPS: dict[Kind, str] = {
    "model": "stepsize.models",
    "data": "stepsize.datasets",
    "optimizer": "stepsize.optimizers",
    "loss": "stepsize.losses",
    "metric": "stepsize.metrics",
}
"""Where packages name their components."""

GIVEN: dict[Kind, tuple[str, ...]] = {
    "model": ("shape", "classes"),
    "data": ("data_dir",),
    "optimizer": ("params", "lr"),
    "loss": ("scores", "labels"),
    "metric": ("scores", "labels"),
}
"""What the engine hands to each, by position; all else is a parameter of the user's."""

OWN = (
    EntryPoint("timm", "worker.libraries.timm_models:model", GROUPS["model"]),
    EntryPoint("torchvision", "worker.libraries.torchvision_models:model", GROUPS["model"]),
    EntryPoint("transformers", "worker.libraries.transformers_models:model", GROUPS["model"]),
    EntryPoint("torchvision-dataset", "worker.libraries.torchvision_data:data", GROUPS["data"]),
    EntryPoint("hf-dataset", "worker.libraries.hf_data:data", GROUPS["data"]),
)
"""Adapters to libraries, each offered where its library is installed."""

ME = "stepsize"


class PluginError(Exception):
    """A component cannot be offered; the message says why."""


class PluginParams(ComponentParams):
    """Parameters that were read from a signature."""

    model_config = ConfigDict(strict=True, validate_default=True, protected_namespaces=())

    component: ClassVar[str]
    offered_by: ClassVar["Plugin"]

    def __hash__(self) -> int:
        return hash((type(self), self.model_dump_json()))

    @classmethod
    def parsed(cls, given: Params) -> Self:
        """From JSON, whose lists are tuples and sets as well.

        Raises:
            pydantic.ValidationError: they are not what the signature asks for.
        """
        return cls.model_validate_json(json.dumps(given))


@dataclass(frozen=True, eq=False)
class Plugin:
    """One component of an installed package."""

    kind: Kind
    name: str
    package: str
    version: str
    function: Callable[..., Any]
    params: type[PluginParams]

    def offered(self) -> Offered:
        """As others are told of it.

        Raises:
            PluginError: its parameters have no JSON Schema.
        """
        try:
            schema = self.params.model_json_schema()
        except Exception as error:
            raise PluginError(f"its parameters have no JSON Schema: {error}") from error
        for word in ("title", "description"):
            schema.pop(word, None)
        return Offered(
            kind=self.kind,
            name=self.name,
            package=self.package,
            version=self.version,
            description=inspect.getdoc(self.function) or "",
            parameters=schema,
        )


@dataclass(frozen=True)
class LeftOut:
    """A component that is not offered, or not by its plain name, and why."""

    kind: Kind
    name: str
    package: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} of {self.package}: {self.reason}"


@dataclass(frozen=True)
class Installed:
    """What the packages of this environment offer."""

    plugins: tuple[Plugin, ...]
    left_out: tuple[LeftOut, ...]

    def find(self, kind: Kind, name: str) -> Plugin | None:
        """The component of that name, or of that name in that package.

        Raises:
            PluginError: several packages have one.
        """
        found = [each for each in self.plugins if each.kind == kind]
        whole = [each for each in found if qualified(each.package, each.name) == name]
        found = whole or [each for each in found if each.name == name]
        if len(found) > 1:
            names = ", ".join(qualified(each.package, each.name) for each in found)
            raise PluginError(f"several packages offer {name}: say which, of {names}")
        return found[0] if found else None


@cache
def installed() -> Installed:
    """Loads every component; one that cannot be loaded is left out with the reason."""
    plugins: list[Plugin] = []
    left_out: list[LeftOut] = []
    for kind, entry in _entries():
        package, _ = _package(entry)
        try:
            plugin = loaded(kind, entry)
        except PluginError as error:
            left_out.append(LeftOut(kind, entry.name, package, str(error)))
            continue
        plugins.append(plugin)
        if plugin.name in BUILT_INS[kind]:
            other = qualified(package, plugin.name)
            reason = f"{plugin.name} is the built-in one: this one answers to {other}"
            left_out.append(LeftOut(kind, plugin.name, package, reason))
    return Installed(tuple(plugins), tuple(left_out))


def loaded(kind: Kind, entry: EntryPoint) -> Plugin:
    """The component that an entry point names.

    Raises:
        PluginError: it cannot be imported, or its signature makes no parameters.
    """
    package, version = _package(entry)
    try:
        function = entry.load()
    except PluginError:
        raise
    except (Exception, SystemExit) as error:  # whatever it is, the others can be offered
        raise PluginError(f"cannot be imported: {_said(error)}") from error
    try:
        params = signature_params(kind, entry.name, function)
        plugin = Plugin(kind, entry.name, package, version, function, params)
        params.offered_by = plugin
        plugin.offered()
    except ValidationError as error:
        raise PluginError(f"its names are not right: {_first(error)}") from error
    return plugin


def signature_params(kind: Kind, name: str, function: Callable[..., Any]) -> type[PluginParams]:
    """A type whose fields are the keyword-only parameters of a function or a class.

    Raises:
        PluginError: the signature does not say what it needs to.
    """
    if not callable(function):
        raise PluginError(f"is a {type(function).__name__}, neither a function nor a class")
    try:
        parameters = list(inspect.signature(function).parameters.values())
        target = function.__init__ if inspect.isclass(function) else function
        hints = get_type_hints(target, include_extras=True)
    except Exception as error:
        raise PluginError(f"its signature cannot be read: {_said(error)}") from error
    fields = dict(_fields(kind, parameters, hints))
    try:
        params: type[PluginParams] = create_model(
            f"{kind.capitalize()}Params", __base__=PluginParams, **fields
        )
        params.component = name
        if not any(each.is_required() for each in params.model_fields.values()):
            params()
    except ValidationError as error:
        raise PluginError(
            f"its defaults are not what its types ask for: {_first(error)}"
        ) from error
    except Exception as error:
        raise PluginError(f"its parameters cannot be checked: {_said(error)}") from error
    return params


def made(params: PluginParams, *given: Any) -> Any:
    """What the component makes of what the engine hands it, with these parameters."""
    chosen = {name: getattr(params, name) for name in type(params).model_fields}
    return params.offered_by.function(*given, **chosen)


def _fields(
    kind: Kind, parameters: list[inspect.Parameter], hints: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    given = GIVEN[kind]
    ours, theirs = parameters[: len(given)], parameters[len(given) :]
    positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    if len(ours) < len(given) or any(each.kind not in positional for each in ours):
        raise PluginError(f"must take {', '.join(given)} by position, and the rest after a *")
    for each in theirs:
        if each.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise PluginError(
                f"parameter {each} must be a keyword of its own: write it after a *, with its type"
            )
        if each.name in PluginParams.__class_vars__ or hasattr(PluginParams, each.name):
            raise PluginError(f"parameter {each.name} cannot have that name here: rename it")
        if each.name not in hints:
            raise PluginError(f"parameter {each.name} has no type")
        default = ... if each.default is inspect.Parameter.empty else each.default
        yield each.name, (hints[each.name], default)


def _entries() -> Iterator[tuple[Kind, EntryPoint]]:
    for kind, group in GROUPS.items():
        for entry in (*OWN, *sorted(entry_points(group=group), key=lambda each: each.name)):
            if entry.group == group:
                yield kind, entry


def _package(entry: EntryPoint) -> tuple[str, str]:
    """The package's name as installers normalise it, and its version."""
    if entry.dist is None:
        from importlib.metadata import version  # noqa: PLC0415 - only for what is our own

        return ME, version(ME)
    return entry.dist.name.lower().replace("_", "-"), entry.dist.version


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
