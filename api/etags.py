"""Whether a client has what it asks for already."""

from store.jobs import Job


def etag_of(job: Job) -> str:
    """Changes with whatever a client can see of the job."""
    return f'W/"{job.version}"'


def matches(if_none_match: str | None, etag: str) -> bool:
    """The weak comparison of RFC 9110: only what stands between the quotes counts."""
    given = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    return "*" in given or etag.removeprefix("W/") in given
