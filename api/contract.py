"""The contract, `/openapi.json`: what FastAPI reads off the routes, and what holds for all of them.

A route says its own: `operation_id`, and in `responses` what a status means that it gives. What
every route answers in the same way is added here.
"""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from pydantic.json_schema import models_json_schema

from api import secured
from api.examples import PROBLEMS
from api.problems import MEDIA_TYPE, Problem

Node = dict[str, Any]

VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")

TAGS = {
    "jobs": "Range tests and trainings: submit them, follow them, move them on.",
    "sweeps": "Many jobs from one template, chosen by a sampler, judged by one objective.",
    "series": "What jobs have recorded, whole or reduced to what a screen can show.",
    "checkpoints": "The states of trainings that can be gone on from, as files.",
    "events": "Jobs as they change, on streams of server-sent events.",
    "schedules": "Learning-rate policies, and what they would do.",
    "catalogue": "What jobs may name.",
    "workers": "Who computes.",
    "owners": "What owners use and may have, and what they let be deleted.",
    "webhooks": "Where to send word of jobs and sweeps, and what came of it.",
    "keys": "Who may ask for what, and who has changed what.",
    "health": "For those who watch over the server.",
}

HEADERS = {
    "X-Request-ID": "the request's own, where it sent one of 1 to 128 letters, digits, `.`, `_`,"
    " `-`; the log of the server has it",
    "Retry-After": "seconds after which to ask again",
    "WWW-Authenticate": "`Bearer`",
}

ANY = {
    421: "the server has no key, and answers this machine alone",
    500: "a fault of the server; its log says more",
    503: "the database, or something else that the answer needs, cannot be reached now",
}
"""Status -> when a route answers so, whichever it is."""

WITH_BODY = {
    400: "the body, or what was announced of it, cannot be read",
    413: "the body is too large",
}

INVALID = "a value is not valid; `errors` points at each"
NOT_FOUND = "there is nothing of that id"

LATER = frozenset({429, 503})
"""Statuses that come with Retry-After."""

JOB_ID = {"job_id": "$response.body#/id"}


def made(found: Node) -> Node:
    """The contract, from what FastAPI has `found` in the routes."""
    found["tags"] = [{"name": name, "description": each} for name, each in TAGS.items()]
    schemas = found["components"]["schemas"]
    schemas |= _problem()
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    _tell_apart(schemas)
    every = {**ANY, **WITH_BODY, **secured.REFUSALS, 404: NOT_FOUND, 422: INVALID}
    found["components"]["securitySchemes"] = secured.SCHEMES
    found["components"]["headers"] = {
        name: {"description": meaning, "schema": {"type": "string"}}
        for name, meaning in HEADERS.items()
    }
    found["components"]["responses"] = {
        str(status): _refusal(status, every[status]) for status in sorted(every)
    }
    for verb, path, operation in operations(found):
        _complete(verb, path, operation)
    _link(found)
    return found


def operations(contract: Node) -> Iterator[tuple[str, str, Node]]:
    """Verb, path and operation of every route in a contract."""
    for path, item in contract["paths"].items():
        for verb in VERBS:
            if verb.lower() in item:
                yield verb, path, item[verb.lower()]


def _complete(verb: str, path: str, operation: Node) -> None:
    # "get_job" -> "Get job": one name for a route, in every language
    operation["summary"] = operation["operationId"].replace("_", " ").capitalize()
    common = dict(ANY) if path.startswith("/v1") else {each: ANY[each] for each in (421, 500)}
    common |= secured.describe(verb, path, operation)
    if "requestBody" in operation:
        common |= WITH_BODY
    if "{" in path:
        common[404] = NOT_FOUND
    told = operation["responses"]
    told.pop("422", None)
    if "requestBody" in operation or any(map(_refusable, operation.get("parameters", []))):
        common[422] = INVALID
    for status in common.keys() - {int(each) for each in told}:
        told[str(status)] = {"$ref": f"#/components/responses/{status}"}
    for status, answer in told.items():
        if "$ref" in answer:
            continue
        if int(status) >= HTTPStatus.BAD_REQUEST:
            own = answer.get("headers", {})
            answer.update(_refusal(int(status), answer["description"]))
            answer["headers"] |= own
        answer.setdefault("headers", {})["X-Request-ID"] = _header("X-Request-ID")
    operation["responses"] = dict(sorted(told.items()))


def _refusable(parameter: Node) -> bool:
    """Whether a value is possible that the server refuses."""
    return bool(parameter["schema"].keys() - {"type", "title", "description", "examples"}) or (
        parameter["schema"].get("type") != "string"
    )


def _refusal(status: int, description: str) -> Node:
    headers = {"X-Request-ID": _header("X-Request-ID")}
    if status in LATER:
        headers["Retry-After"] = _header("Retry-After")
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = _header("WWW-Authenticate")
    content: Node = {"schema": {"$ref": "#/components/schemas/Problem"}}
    if status in PROBLEMS:
        title = HTTPStatus(status).phrase
        content["example"] = {"type": "about:blank", "title": title, "status": status}
        content["example"] |= PROBLEMS[status]
    return {"description": description, "headers": headers, "content": {MEDIA_TYPE: content}}


def _header(name: str) -> Node:
    return {"$ref": f"#/components/headers/{name}"}


def _problem() -> Node:
    _, found = models_json_schema(
        [(Problem, "serialization")], ref_template="#/components/schemas/{model}"
    )
    schemas: Node = found["$defs"]
    return schemas


def _link(contract: Node) -> None:
    """Says of a job that has been submitted what else can be asked of it."""
    links = {
        operation["operationId"]: {
            "operationId": operation["operationId"],
            "parameters": JOB_ID,
        }
        for _, path, operation in operations(contract)
        if path.startswith("/v1/jobs/{job_id}") and path.count("{") == 1
    }
    contract["paths"]["/v1/jobs"]["post"]["responses"]["201"]["links"] = links


def _tell_apart(schemas: Node) -> None:
    """Makes the field that tells the branches of a union apart a required one in each of them.

    Alone each branch can do without it, for it has one value; in the union none can.
    """
    for union in _unions(schemas):
        field = union["propertyName"]
        for target in union["mapping"].values():
            branch = schemas[target.rpartition("/")[2]]
            branch["properties"][field].pop("default", None)
            branch["required"] = sorted({*branch.get("required", []), field})


def _unions(node: Any) -> Iterator[Node]:
    if isinstance(node, dict):
        if "mapping" in node.get("discriminator", {}):
            yield node["discriminator"]
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from _unions(each)
