"""Whether a client has what it asks for already."""


def matches(if_none_match: str | None, etag: str) -> bool:
    """The weak comparison of RFC 9110: only what stands between the quotes counts."""
    given = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    return "*" in given or etag.removeprefix("W/") in given
