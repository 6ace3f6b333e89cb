"""openapi.json is what the routes say, and says enough for generated clients."""

import difflib
import importlib.util
import json
import re
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema_rs
import pytest

from api.contract import TAGS, operations

ROOT = Path(__file__).parents[2]
CONTRACT: dict[str, Any] = json.loads((ROOT / "openapi.json").read_text())
OPERATIONS = [
    pytest.param(path, operation, id=operation["operationId"])
    for _, path, operation in operations(CONTRACT)
]
SHOWN = 80
"""Lines of a difference."""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_openapi", ROOT / "docs/make_openapi.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_is_what_the_routes_say(script: ModuleType) -> None:
    written, made = script.FILE.read_text(), script.contract()
    changed = difflib.unified_diff(
        written.splitlines(), made.splitlines(), "openapi.json", "the routes", lineterm=""
    )
    told = "\n".join(islice(changed, SHOWN))
    assert not told, f"`make openapi` writes it anew, to be committed:\n{told}"
    assert written == made


def test_no_two_routes_have_the_same_name() -> None:
    names = [operation["operationId"] for _, _, operation in operations(CONTRACT)]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names), "name it: operation_id="


@pytest.mark.parametrize(("path", "operation"), OPERATIONS)
def test_a_route_says_what_it_is_for(path: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"].rstrip().endswith("."), "its docstring"
    assert set(operation["tags"]) <= set(TAGS)
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "header":
            assert parameter["description"], parameter
            assert parameter["name"][0].isupper(), "give it an alias, as RFCs write it"


@pytest.mark.parametrize(("path", "operation"), OPERATIONS)
def test_every_answer_has_a_type(path: str, operation: dict[str, Any]) -> None:
    told = {int(status): resolved(each) for status, each in operation["responses"].items()}
    assert min(told) in {200, 201, 204}
    assert 500 in told
    for status, answer in told.items():
        assert answer["description"]
        assert "X-Request-ID" in answer["headers"]
        if status in {204, 304}:
            assert "content" not in answer
        elif status < 400:
            assert all(each["schema"] for each in answer["content"].values())
        else:
            assert list(answer["content"]) == ["application/problem+json"]
        if status == 304:
            assert "ETag" in answer["headers"]
        if status in {429, 503}:
            assert "Retry-After" in answer["headers"]
        if status == 201 and path == "/v1/jobs":
            assert "Location" in answer["headers"]


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        at: Any = CONTRACT
        for part in node["$ref"].removeprefix("#/").split("/"):
            at = at[part]
        node = at
    return node


def test_every_example_is_what_its_schema_says() -> None:
    seen = 0
    for schema, example in examples(CONTRACT["paths"]):
        validator = jsonschema_rs.validator_for({**schema, "components": CONTRACT["components"]})
        validator.validate(example)
        seen += 1
    assert seen > 20


def examples(node: Any) -> Any:
    if isinstance(node, list):
        for each in node:
            yield from examples(each)
    elif isinstance(node, dict):
        node = resolved(node)
        if "schema" in node:
            given = [each["value"] for each in node.get("examples", {}).values()]
            for example in [*given, *([node["example"]] if "example" in node else [])]:
                yield node["schema"], example
        for name, each in node.items():
            if name != "schema":
                yield from examples(each)


def test_unions_are_told_apart_by_a_field_that_is_required() -> None:
    unions = list(discriminated(CONTRACT))
    assert {union["discriminator"]["propertyName"] for union in unions} == {
        "kind",
        "name",
        "policy",
    }
    for union in unions:
        field, mapping = union["discriminator"]["propertyName"], union["discriminator"]["mapping"]
        assert sorted(mapping.values()) == sorted(each["$ref"] for each in union["oneOf"])
        for name, target in mapping.items():
            branch = resolved({"$ref": target})
            assert branch["properties"][field]["const"] == name
            assert field in branch["required"]


def discriminated(node: Any) -> Any:
    if isinstance(node, dict):
        if "discriminator" in node:
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from discriminated(each)
