"""The fields that a sweep varies: where they are, when each is varied, and what must hold."""

import json
import operator
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from typing import Any, cast

from pydantic import JsonValue

from spec.spaces import Dimension
from spec.sweeps import SweepSpec

Parameters = dict[str, JsonValue]
"""Pointer -> value, in the order of the space; without the fields that are not varied now."""

Parts = tuple[str, ...]

ABSENT = object()
"""The value of a field that is not there."""

COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


class SweepError(ValueError):
    """What is asked of a sweep cannot be.

    Attributes:
        pointer: JSON pointer into the sweep's spec.
        detail: what is wrong there, and what to do.
    """

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail


class MisplacedError(LookupError):
    """The template has no place for a parameter.

    Attributes:
        pointer: of the parameter.
    """

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.pointer = pointer


@lru_cache(maxsize=4096)
def parts(pointer: str) -> Parts:
    """The keys of a JSON pointer (RFC 6901)."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def pointer_to(*keys: str | int) -> str:
    """The JSON pointer of some keys."""
    return "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in keys)


def get(document: object, path: Parts) -> object:
    """What is in a document at a path, or ABSENT."""
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and (place := _place(document, part)) is not None:
            document = document[place]
        else:
            return ABSENT
    return document


def merged(template: Mapping[str, JsonValue], parameters: Parameters) -> dict[str, JsonValue]:
    """The template with the parameters in it: what is inside another parameter goes in after it.

    Objects on the way to a field are made.

    Raises:
        MisplacedError: something on the way is neither an object nor an item of a list.
    """
    document: Any = dict(template)
    for pointer in sorted(parameters, key=lambda each: len(parts(each))):
        try:
            document = _put(document, parts(pointer), parameters[pointer])
        except LookupError as error:
            raise MisplacedError(pointer, str(error)) from None
    return cast("dict[str, JsonValue]", document)


def identity(value: object) -> Hashable:
    """Equal for values that are equal in JSON: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, Mapping):
        return frozenset((key, identity(each)) for key, each in value.items())
    if isinstance(value, list | tuple):
        return tuple(identity(each) for each in value)
    assert isinstance(value, Hashable)  # noqa: S101 - numbers, strings and None are left
    return value


@dataclass(frozen=True)
class _Field:
    """A field whose value may depend on what has been chosen.

    Attributes:
        varied: pointer of a dimension, and the path from there; the innermost one first.
        default: what the template has.
    """

    varied: tuple[tuple[str, Parts], ...]
    default: object

    def of(self, chosen: Mapping[str, JsonValue]) -> object:
        for pointer, rest in self.varied:
            if pointer in chosen:
                return get(chosen[pointer], rest)
        return self.default


@dataclass(frozen=True)
class _Constraint:
    pointer: str
    text: str
    left: _Field
    comparison: str
    right: _Field

    def holds(self, chosen: Mapping[str, JsonValue]) -> bool:
        values = self.left.of(chosen), self.right.of(chosen)
        if any(value is ABSENT for value in values):
            return True
        if self.comparison in {"==", "!="}:
            return COMPARISONS[self.comparison](*map(identity, values))
        if any(value is None or isinstance(value, dict) for value in values):
            return True  # a rate that a range test will suggest, a count in epochs: not known yet
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
            raise SweepError(self.pointer, f"'{self.text}' compares what is not a number")
        return COMPARISONS[self.comparison](*values)


@dataclass(frozen=True)
class Space:
    """The dimensions of a sweep, in an order in which each comes after those it depends on."""

    dimensions: Mapping[str, Dimension]
    order: tuple[str, ...]
    conditions: Mapping[str, tuple[tuple[_Field, frozenset[Hashable]], ...]]
    constraints: tuple[_Constraint, ...]

    @classmethod
    def of(cls, spec: SweepSpec) -> "Space":
        """The space of a sweep.

        Raises:
            SweepError: conditions depend on each other, or compare parts of something as a whole.
        """

        def field(operand: str, asked_at: str) -> _Field:
            if not operand.startswith("/"):
                return _Field((), float(operand))
            path = parts(operand)
            for pointer in spec.space:
                if len(parts(pointer)) > len(path) and parts(pointer)[: len(path)] == path:
                    detail = f"names {operand}, of which a part is varied: name the part itself"
                    raise SweepError(asked_at, detail)
            within = [p for p in spec.space if parts(p) == path[: len(parts(p))]]
            within.sort(key=lambda each: -len(parts(each)))
            varied = tuple((p, path[len(parts(p)) :]) for p in within)
            return _Field(varied, get(spec.template, path))

        conditions = {
            pointer: tuple(
                (
                    field(other, pointer_to("space", pointer, "when", other)),
                    frozenset(map(identity, values)),
                )
                for other, values in dimension.when.items()
            )
            for pointer, dimension in spec.space.items()
        }
        constraints = []
        for i, text in enumerate(spec.constraints):
            left, comparison, right = text.split(" ")
            at = f"/constraints/{i}"
            constraints.append(_Constraint(at, text, field(left, at), comparison, field(right, at)))
        return cls(spec.space, _ordered(conditions), conditions, tuple(constraints))

    def varies(self, pointer: str, chosen: Mapping[str, JsonValue]) -> bool:
        """Whether a field is varied, given the values of those before it in `order`."""
        return all(identity(at.of(chosen)) in values for at, values in self.conditions[pointer])

    def holds(self, chosen: Mapping[str, JsonValue]) -> bool:
        """Whether every constraint holds; one that names an absent field does."""
        return all(constraint.holds(chosen) for constraint in self.constraints)

    def arranged(self, chosen: Mapping[str, JsonValue]) -> Parameters:
        """The same parameters in the order of the space."""
        return {pointer: chosen[pointer] for pointer in self.dimensions if pointer in chosen}

    def configuration(self, choose: Callable[[str, Dimension], JsonValue]) -> Parameters | None:
        """One value of each field that is varied, or None where a constraint does not hold."""
        chosen: Parameters = {}
        for pointer in self.order:
            if self.varies(pointer, chosen):
                chosen[pointer] = choose(pointer, self.dimensions[pointer])
        return self.arranged(chosen) if self.holds(chosen) else None


def _ordered(
    conditions: Mapping[str, tuple[tuple[_Field, frozenset[Hashable]], ...]],
) -> tuple[str, ...]:
    """As given, but each after those it depends on."""
    needs = {
        pointer: {other for field, _ in each for other, _ in field.varied}
        for pointer, each in conditions.items()
    }
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        cycle = error.args[1]
        raise SweepError(
            pointer_to("space", cycle[0], "when"),
            f"conditions must not depend on each other: {' <- '.join(cycle)}",
        ) from error
    order: list[str] = []
    while len(order) < len(needs):
        order.append(next(p for p in needs if p not in order and needs[p] <= set(order)))
    return tuple(order)


def _put(document: Any, path: Parts, value: JsonValue) -> Any:
    if not path:
        return value
    part, rest = path[0], path[1:]
    if isinstance(document, dict):
        return {**document, part: _put(document.get(part, {}), rest, value)}
    place = _place(document, part) if isinstance(document, list) else None
    if place is None:
        raise LookupError(f"there is no '{part}' to vary in {json.dumps(document):.50}")
    return [*document[:place], _put(document[place], rest, value), *document[place + 1 :]]


def _place(items: list[Any], part: str) -> int | None:
    """Which item a part of a pointer names."""
    if part.isascii() and part.isdigit() and int(part) < len(items) and part == str(int(part)):
        return int(part)
    return None
