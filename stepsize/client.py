"""The client for scripts and notebooks: submit jobs, wait for them, read and plot their series."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx

from stepsize import transport, watching
from stepsize.comparing import Comparison
from stepsize.downloads import download
from stepsize.errors import ApiError, StepsizeError, UnreachableError
from stepsize.keys import Caller, Keys
from stepsize.owners import Owner, Owners, Retention
from stepsize.reading import Reading, path_of
from stepsize.specs import spec_of
from stepsize.sweeps import Sweeps
from stepsize.values import (
    Checkpoint,
    CheckpointList,
    Job,
    JobList,
    JobPage,
    JobPreview,
    Worker,
    WorkerList,
)
from stepsize.webhooks import Webhooks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = 500
"""The most jobs that the server lists at once."""


class Client(Reading):
    """A stepsize server, by default the one at STEPSIZE_URL, else http://127.0.0.1:8000.

    The key comes from `api_key` or STEPSIZE_API_KEY. Times are in seconds.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 30.0,
        http_transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = transport.connect(url, api_key, timeout=timeout, transport=http_transport)
        self._timeout = timeout
        self.url = str(self._http.base_url).rstrip("/")
        self.keys = Keys(self._send)
        self.owners = Owners(self._send)
        self.retention = Retention(self._send)
        self.webhooks = Webhooks(self._send)
        self.sweeps = Sweeps(self._send, answers_within=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def submit(self, spec: Mapping[str, Any] | str | Path, *, key: str | None = None) -> Job:
        """Queues a job, given as its spec or as the path of a JSON, YAML or TOML file.

        Where the answer gets lost it is asked for again, and there is still one job. The same goes
        for two calls within a day that have the same `key`.
        """
        body = _body(spec)
        answer = self._send("POST", "/v1/jobs", body=body, headers=transport.once(key))
        return transport.parse(Job, answer, home=self)

    def dry_run(self, spec: Mapping[str, Any] | str | Path) -> JobPreview:
        """What submitting that job would come to; nothing is queued, and nothing raised for it."""
        return transport.parse(JobPreview, self._send("POST", "/v1/jobs/preview", body=_body(spec)))

    def submit_many(
        self, specs: Sequence[Mapping[str, Any]], *, key: str | None = None
    ) -> list[Job]:
        """Queues up to 1,000 jobs with one request: all of them, or none; else as `submit`."""
        body = {"jobs": [dict(spec) for spec in specs]}
        answer = self._send("POST", "/v1/jobs:batch", body=body, headers=transport.once(key))
        return transport.parse(JobList, answer, home=self).data

    def job(self, job: Job | str) -> Job:
        """The job as it is now."""
        return transport.parse(Job, self._send("GET", path_of(job)), home=self)

    def jobs(
        self,
        *,
        state: str | Sequence[str] | None = None,
        kind: str | None = None,
        name: str | None = None,
        tag: str | Sequence[str] | None = None,
        sweep: str | None = None,
        limit: int = 50,
    ) -> list[Job]:
        """The newest jobs that match, at most `limit`.

        Several states mean any of them, several tags (each `key:value`) all of them.
        """
        query = {"state": state, "kind": kind, "name": name, "tag": tag, "sweep": sweep}
        found: list[Job] = []
        cursor = None
        while len(found) < limit:
            params = {**query, "limit": min(limit - len(found), PAGE), "cursor": cursor}
            answer = self._send("GET", "/v1/jobs", params=params)
            page = transport.parse(JobPage, answer, home=self)
            found += page.data
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    def watch(self, job: Job | str, *, timeout: float | None = None) -> Iterator[Job]:
        """The job at every look until it has finished; looks come when it changes, or seldom.

        A job that is paused has not finished: it is looked at until it has been resumed and ends.

        Raises:
            TimeoutError: it has not finished after `timeout` seconds; it goes on regardless.
        """

        def look(headers: Mapping[str, str]) -> httpx.Response:
            return self._send("GET", path_of(job), headers=headers)

        within = self._timeout
        yield from watching.watch(Job, look, timeout=timeout, answers_within=within, home=self)

    def wait(self, job: Job | str, *, progress: bool = False, timeout: float | None = None) -> Job:
        """The job once it has finished, whatever its end; with `progress`, draws a bar."""
        if progress:
            from stepsize.progress import follow  # noqa: PLC0415 - rich, only where it is drawn

            return follow(self, job, timeout=timeout)
        *_, last = self.watch(job, timeout=timeout)
        return last

    def cancel(self, job: Job | str) -> Job:
        """Cancels a waiting or paused job; asks a running one to stop."""
        return self._move(job, "cancel")

    def pause(self, job: Job | str) -> Job:
        """Holds a waiting job; asks a running one to stop for now, at a checkpoint."""
        return self._move(job, "pause")

    def resume(self, job: Job | str) -> Job:
        """Lets a paused job go on from its checkpoint."""
        return self._move(job, "resume")

    def retry(self, job: Job | str) -> Job:
        """Queues a failed or cancelled job again, to go on from its last checkpoint."""
        return self._move(job, "retry")

    def extend(self, job: Job | str, *, iteration: int | None = None, **changes: Any) -> Job:
        """Queues a training that goes on from a checkpoint of another, by default its last.

        It has the other's spec, name and tags included, but for the fields in `changes`: most
        often `length`, which counts what was trained before as well, and `schedule`. One of policy
        `auto` goes on under the schedule that it found.
        """
        parent = self.job(job)
        if parent.kind != "training":
            raise StepsizeError(f"{parent.id} is a {parent.kind}: only a training can be extended")
        origin = {"job": parent.id} | ({} if iteration is None else {"iteration": iteration})
        spec = parent.spec | {"from": origin}
        if spec.get("schedule", {}).get("policy") == "auto":
            spec["schedule"] = (parent.resolved or {}).get("schedule")
        return self.submit(spec | changes)

    def checkpoints(self, job: Job | str) -> list[Checkpoint]:
        """Every checkpoint of a job, oldest first."""
        answer = self._send("GET", f"{path_of(job)}/checkpoints")
        return transport.parse(CheckpointList, answer).data

    def download_checkpoint(self, job: Job | str, iteration: int, path: str | Path) -> Path:
        """Writes a checkpoint to a file, which is there once all of it is."""
        source = f"{path_of(job)}/checkpoints/{iteration}"
        return download(self._http, source, Path(path))

    def usage(self) -> Owner:
        """What one's own jobs use, and what they may."""
        return transport.parse(Owner, self._send("GET", "/v1/usage"))

    def workers(self) -> list[Worker]:
        """Every worker the server knows."""
        return transport.parse(WorkerList, self._send("GET", "/v1/workers")).data

    def drain(self, worker: Worker | str) -> Worker:
        """Asks a worker to finish its job and take no more."""
        return transport.parse(Worker, self._send("POST", f"{_worker(worker)}/drain"))

    def undrain(self, worker: Worker | str) -> Worker:
        """Asks a worker to take jobs again."""
        return transport.parse(Worker, self._send("POST", f"{_worker(worker)}/undrain"))

    def release(self, worker: Worker | str) -> Worker:
        """Ends the quarantine of a worker's device, say once it has been repaired."""
        return transport.parse(Worker, self._send("POST", f"{_worker(worker)}/release"))

    def whoami(self) -> Caller:
        """Whom the server takes this client for."""
        return transport.parse(Caller, self._send("GET", "/v1/session"))

    def ready(self) -> bool:
        """Whether the server answers, and reaches its database and broker."""
        try:
            self._send("GET", "/readyz")
        except (ApiError, UnreachableError):
            return False
        return True

    def plot(self, job: Job | str, path: str | Path | None = None) -> Figure:
        """A picture of a finished job, as a PNG file too where one is named; needs matplotlib."""
        from stepsize import plots  # noqa: PLC0415 - matplotlib, only where it is drawn

        picture = plots.figure(self, self.job(job))
        if path is not None:
            plots.save(picture, path)
        return picture

    def compare(self, jobs: Iterable[Job | str]) -> Comparison:
        """Jobs side by side, as they are now: their settings that differ, results and curves."""
        return Comparison([self.job(job) for job in jobs], self)

    def dashboard(self, job: Job | str | None = None) -> str:
        """The address of the dashboard, or of the page of a job in it."""
        page = "" if job is None else f"#{job if isinstance(job, str) else job.id}"
        return f"{self.url}/{page}"

    def _move(self, job: Job | str, verb: str) -> Job:
        return transport.parse(Job, self._send("POST", f"{path_of(job)}/{verb}"), home=self)


def _body(spec: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    body = spec_of(spec)
    if body.get("kind") in {"sweep", "recipe"} or "template" in body:
        kind = body.get("kind", "sweep")
        raise StepsizeError(
            f"this is a {kind}: `stepsize sweep` queues it, or client.sweeps.submit"
        )
    return body


def _worker(worker: Worker | str) -> str:
    return f"/v1/workers/{quote(worker if isinstance(worker, str) else worker.name, safe='@')}"
