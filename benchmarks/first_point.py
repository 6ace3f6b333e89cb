"""How long a client waits for the first recorded iteration, with the service warm."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import httpx

from stepsize.embedded import Place, free_port, running

POLL = 0.002
"""Seconds between two looks: the client must not take the processor from the service."""

DEADLINE = 60.0
PARTS = ("POST to first iteration", "POST answered", "inserted to claimed", "claimed to first seen")


Waited = tuple[float, ...]
"""Seconds, as `PARTS` names them."""


def measure(folder: Path, spec: Mapping[str, Any], jobs: int) -> Sequence[Waited]:
    """The parts of each of so many jobs, one after the other, after a few to warm up."""
    place = Place(folder, port=free_port())
    with (
        running(place, say=lambda _: None) as service,
        httpx.Client(base_url=place.url, timeout=10) as client,
    ):
        found = []
        for _ in range(jobs + 3):
            service.tend()
            found.append(_first_point(client, spec))
        return found[3:]


def _first_point(client: httpx.Client, spec: Mapping[str, Any]) -> Waited:
    began = perf_counter()
    job = client.post("/v1/jobs", json=spec).raise_for_status().json()["id"]
    answered = perf_counter() - began
    while not _recorded(client, job):
        if perf_counter() - began > DEADLINE:
            raise TimeoutError(f"{job} recorded nothing within {DEADLINE:g} s")
        sleep(POLL)
    took, seen = perf_counter() - began, datetime.now(UTC)
    while (ended := _get(client, f"/v1/jobs/{job}"))["finished_at"] is None:
        if perf_counter() - began > DEADLINE:
            raise TimeoutError(f"{job} is not finished within {DEADLINE:g} s")
        sleep(POLL)
    if ended["state"] != "succeeded":
        raise RuntimeError(f"{job} {ended['state']}: {ended['error']}")
    # both are of this machine's clock, as the database here has no other
    created, started = (
        datetime.fromisoformat(ended[name]) for name in ("created_at", "started_at")
    )
    return took, answered, (started - created).total_seconds(), (seen - started).total_seconds()


def _recorded(client: httpx.Client, job: str) -> bool:
    return bool(_get(client, f"/v1/jobs/{job}/series?names=loss&stop=1")["returned"])


def _get(client: httpx.Client, path: str) -> Any:
    return client.get(path).raise_for_status().json()
