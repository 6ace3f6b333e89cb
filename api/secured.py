"""Says in the contract which key each route wants, and how it answers without."""

from typing import Any

from api.access import COOKIE, SAFE, needed
from api.problems import MEDIA_TYPE

SCHEMES: dict[str, Any] = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "an API key; not asked for where the server listens on this machine alone",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "the same key, in a browser that has signed in; what changes something then"
        " needs `Sec-Fetch-Site` or `Origin`, which browsers send by themselves",
    },
}

_PROBLEM = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
REFUSALS: dict[str, Any] = {
    "401": {
        **_PROBLEM,
        "description": "no key, or one that is not known, has expired or was revoked",
        "headers": {"WWW-Authenticate": {"schema": {"type": "string"}}},
    },
    "403": {**_PROBLEM, "description": "the key has not the scope, or a foreign page asks"},
    "429": {
        **_PROBLEM,
        "description": "the key has asked too often in the last minute",
        "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}},
    },
}


def describe(contract: dict[str, Any]) -> None:
    """Adds the keys to an OpenAPI document."""
    contract["components"]["securitySchemes"] = SCHEMES
    for path, operations in contract["paths"].items():
        for verb, operation in operations.items():
            scope = needed(verb.upper(), path)
            if scope is None:
                continue
            operation["security"] = [{"key": [scope.value]}, {"cookie": [scope.value]}]
            for status, refusal in REFUSALS.items():
                operation["responses"].setdefault(status, refusal)
            if verb.upper() not in SAFE:
                operation["description"] += f"\n\nTakes a key with the scope `{scope}`."
