"""Says in the contract which key each route wants, and how it answers without."""

from typing import Any

from api.access import COOKIE, SAFE, SESSION, needed

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

REFUSALS = {
    401: "no key, or one that is not known, has expired or was revoked",
    403: "the key has not the scope, or a foreign page asks",
    429: "the key has asked too often in the last minute",
}
"""Status -> when a route that wants a key answers so."""


def describe(verb: str, path: str, operation: dict[str, Any]) -> dict[int, str]:
    """Says which key an operation wants; the REFUSALS that it may have, for it."""
    scope = needed(verb, path)
    if scope is None:
        return {403: REFUSALS[403]} if path == SESSION else {}
    operation["security"] = [{"key": [scope.value]}, {"cookie": [scope.value]}]
    if verb not in SAFE:
        operation["description"] += f"\n\nTakes a key with the scope `{scope}`."
    return REFUSALS
