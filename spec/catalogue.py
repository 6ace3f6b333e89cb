"""What a job may name: the built-in components, and those that workers offer beyond them."""

import hashlib
import json
from collections.abc import Iterator
from typing import Literal

from pydantic import JsonValue

from schedules.values import Value
from spec.components import DATASETS, MODELS, OPTIMIZERS, ComponentParams
from spec.jobs import RangeTestSpec, TrainingSpec
from spec.losses import LOSSES, METRICS
from spec.values import Component, Identifier

Kind = Literal["model", "data", "optimizer", "loss", "metric"]

BUILT_INS: dict[Kind, dict[str, type[ComponentParams]]] = {
    "model": MODELS,
    "data": DATASETS,
    "optimizer": OPTIMIZERS,
    "loss": LOSSES,
    "metric": METRICS,
}
"""Kind -> name -> parameters."""

WORDS = ("title", "description", "examples")
"""Of a JSON Schema: what changes nothing in what it accepts."""


class Offered(Value):
    """A component of an installed package.

    Attributes:
        parameters: their JSON Schema.
    """

    kind: Kind
    name: Identifier
    package: Identifier
    version: str
    description: str
    parameters: dict[str, JsonValue]

    @property
    def digest(self) -> str:
        """Equal for equal names in packages of one name that take equal parameters."""
        said = [self.kind, self.name, self.package, _bare(self.parameters)]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    @property
    def requirement(self) -> str:
        """How a worker's offer and a job's needs name it."""
        return f"{self.kind} {self.name} of {self.package} ({self.digest[:16]})"

    def answers_to(self, name: str) -> bool:
        """Whether a job means it by this name, its own or with the package before it."""
        return name in {self.name, qualified(self.package, self.name)}


def qualified(package: str, name: str) -> str:
    """The name under which a component is told from those of other packages."""
    return f"{package}.{name}"


def named(spec: RangeTestSpec | TrainingSpec) -> Iterator[tuple[Kind, str, Component]]:
    """Every component that a job names, with the JSON pointer to it."""
    yield "model", "/model", spec.model
    yield "data", "/data", spec.data
    yield "optimizer", "/optimizer", spec.optimizer
    if spec.criterion is not None:
        yield "loss", "/criterion", spec.criterion
    for i, metric in enumerate(spec.metrics):
        yield "metric", f"/metrics/{i}", metric


def _bare(schema: JsonValue) -> JsonValue:
    """A schema without what is only for people."""
    if isinstance(schema, list):
        return [_bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _bare(part) for name, part in each.items()}
        if key in {"properties", "$defs"} and isinstance(each, dict)
        else each
        if key in {"default", "const", "enum"}
        else _bare(each)
        for key, each in schema.items()
        if key not in WORDS
    }
