"""Whether a client has what it asks for already."""

from collections.abc import Sequence
from hashlib import sha256

from store.jobs import Job
from store.standings import Standing
from store.waiting import Waiting


def etag_of(job: Job, waiting: Waiting | None = None) -> str:
    """Changes with whatever a client can see of the job, and of why it waits."""
    if waiting is None:
        return f'W/"{job.version}"'
    return f'W/"{job.version}-{sha256(repr(waiting).encode()).hexdigest()[:16]}"'


def knows(if_none_match: str | None, job: Job) -> bool:
    """Whether a client has the job in this version, whatever it waits for."""
    given = [
        each.strip().removeprefix("W/").strip('"') for each in (if_none_match or "").split(",")
    ]
    return "*" in given or str(job.version) in {each.partition("-")[0] for each in given}


def etag_of_page(page: Sequence[Job], cursor: str | None) -> str:
    """Changes with whatever a client can see of a page of jobs."""
    versions = ",".join(f"{job.id}:{job.version}" for job in page)
    return f'W/"{sha256(f"{versions};{cursor}".encode()).hexdigest()[:32]}"'


def etag_of_series(found: Sequence[Job], representation: str) -> str:
    """Changes with whatever the jobs have recorded, and from one representation to another.

    Only who has a job's lease, or ends or queues it, changes its rows, and that is a new version.
    Compaction is none, as it changes no answer.
    """
    if len(found) == 1:
        return f'W/"{found[0].version}-{representation}"'
    versions = ",".join(f"{job.id}:{job.version}" for job in found)
    return f'W/"{sha256(versions.encode()).hexdigest()[:32]}-{representation}"'


def etag_of_sweep(standing: Standing) -> str:
    """Changes when a job of the sweep changes its state, and with all else that it shows."""
    return f'W/"{standing.tag}"'


def etag_of_sweeps(page: Sequence[Standing], cursor: str | None) -> str:
    """Changes with whatever a client can see of a page of sweeps."""
    tags = ",".join(str(each.tag) for each in page)
    return f'W/"{sha256(f"{tags};{cursor}".encode()).hexdigest()[:32]}"'


def etag_of_outcomes(tag: str, *representation: object) -> str:
    """Changes with what became of a sweep's trials, and with what was asked about them."""
    return f'W/"{tag}-{sha256(repr(representation).encode()).hexdigest()[:16]}"'


def matches(if_none_match: str | None, etag: str) -> bool:
    """The weak comparison of RFC 9110: only what stands between the quotes counts."""
    given = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    return "*" in given or etag.removeprefix("W/") in given
