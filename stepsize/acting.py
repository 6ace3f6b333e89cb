"""A job in hand: what it can be asked to do, which the client does that it came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from stepsize.answers import Lasting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from stepsize.client import Client
    from stepsize.events import Event
    from stepsize.series import Series
    from stepsize.values import Checkpoint, Figures, Job


class Acting(Lasting):
    """`job.wait()` is short for `client.wait(job)`, and so on; jobs are values, and do not change.

    Raises:
        StepsizeError: it came from no client, see `Lasting.home`.
    """

    @property
    def _client(self) -> Client:
        return cast("Client", self.home())

    def refresh(self) -> Job:
        """The job as it is now."""
        return self._client.job(self.id)

    def wait(self, *, progress: bool = False, timeout: float | None = None) -> Job:
        """The job once it has finished, whatever its end; with `progress`, draws a bar."""
        return self._client.wait(self.id, progress=progress, timeout=timeout)

    def events(
        self, names: str | Sequence[str] = ("loss",), *, repeat: int = 0, start: int = 0
    ) -> Iterator[Event]:
        """The job at every change, and its rows as they are recorded, until its end."""
        return self._client.events(self.id, names=names, repeat=repeat, start=start)

    def series(
        self,
        names: str | Sequence[str] = ("loss",),
        *,
        start: int = 0,
        stop: int | None = None,
        points: int | None = None,
        repeat: int = 0,
    ) -> Series:
        """Recorded numbers of iterations `[start, stop)`, see `Client.series`."""
        return self._client.series(
            self.id, names, start=start, stop=stop, points=points, repeat=repeat
        )

    def summary(self) -> list[Figures]:
        """Count, ends and extremes of every quantity recorded so far, by repeat."""
        return self._client.summary(self.id)

    def plot(self, path: str | Path | None = None) -> Figure:
        """A picture of the finished job, written to a file as well where one is named."""
        return self._client.plot(self.id, path)

    def checkpoints(self) -> list[Checkpoint]:
        """Every checkpoint, oldest first."""
        return self._client.checkpoints(self.id)

    def cancel(self) -> Job:
        """Cancels a waiting or paused job; asks a running one to stop."""
        return self._client.cancel(self.id)

    def pause(self) -> Job:
        """Holds a waiting job; asks a running one to stop for now, at a checkpoint."""
        return self._client.pause(self.id)

    def resume(self) -> Job:
        """Lets a paused job go on from its checkpoint."""
        return self._client.resume(self.id)

    def retry(self) -> Job:
        """Queues a failed or cancelled job again, to go on from its last checkpoint."""
        return self._client.retry(self.id)

    def extend(self, *, iteration: int | None = None, **changes: Any) -> Job:
        """Queues a training that goes on from a checkpoint of this one, see `Client.extend`."""
        return self._client.extend(self.id, iteration=iteration, **changes)

    def _repr_html_(self) -> str:
        from stepsize.notebook import job_html  # noqa: PLC0415 - only where it is displayed

        return job_html(cast("Job", self))
