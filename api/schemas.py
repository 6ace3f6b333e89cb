"""Checks parameters against a JSON Schema that a worker has published."""

import re
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator, TypeChecker
from jsonschema.exceptions import SchemaError, UnknownType, ValidationError
from jsonschema.validators import extend
from pydantic import JsonValue
from referencing import Registry
from referencing.exceptions import Unresolvable

from api.problems import FieldError

LONGEST = 300
"""Characters of one message: it quotes what is wrong."""


def _is_integer(_: TypeChecker, value: object) -> bool:
    """As the workers are strict: 64.0 is no whole number of layers."""
    return isinstance(value, int) and not isinstance(value, bool)


_Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


def wrong(schema: dict[str, JsonValue], params: dict[str, Any], *, under: str) -> list[FieldError]:
    """What is wrong with the parameters, with pointers below `under`; nothing where they fit."""
    # an empty registry: a schema that refers to another place is never followed there
    validator = _Validator(schema, registry=Registry())
    try:
        return [
            FieldError(pointer=under + _pointer(path), detail=detail[:LONGEST])
            for error in validator.iter_errors(params)
            for path, detail in _told(error)
        ]
    except (SchemaError, UnknownType, Unresolvable, re.error) as error:
        detail = f"cannot be checked, for the worker's JSON Schema of them is not right: {error}"
        return [FieldError(pointer=under, detail=detail[:LONGEST])]


def _told(error: ValidationError) -> Iterator[tuple[list[Any], str]]:
    path = list(error.absolute_path)
    properties = error.instance if isinstance(error.instance, dict) else {}
    match error.validator:
        case "required":
            for name in error.validator_value:
                if name not in properties:
                    yield [*path, name], "is missing"
        case "additionalProperties":
            known = error.schema.get("properties", {})
            for name in properties:
                if name not in known:
                    yield [*path, name], f"is not known; known: {', '.join(known) or 'nothing'}"
        case "anyOf" | "oneOf" if error.context:
            yield path, " or ".join(dict.fromkeys(each.message for each in error.context))
        case _:
            yield path, error.message


def _pointer(path: list[Any]) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)
