"""What the contract says of answers that a client need not be sent again, or waits for."""

from typing import Any

CSV = "text/csv"


def conditional(of: str, *, waits: bool = False, table: bool = False) -> dict[int | str, Any]:
    """The responses of a route with a weak ETag `of` something.

    Args:
        of: what the ETag changes with.
        waits: whether it honours `Prefer: wait=N`.
        table: whether there is CSV besides JSON.
    """
    headers = {"ETag": _header(f"weak; {of}")}
    if waits:
        headers["Preference-Applied"] = _header("`wait=N`, where that was asked for")
    found: dict[str, Any] = {"headers": headers}
    if table:
        found["content"] = {CSV: {"schema": {"type": "string"}}}
    return {
        200: found,
        304: {"description": "not changed since the given ETag", "headers": headers},
    }


def _header(description: str) -> dict[str, Any]:
    return {"schema": {"type": "string"}, "description": description}
