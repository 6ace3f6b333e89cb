"""Early stopping, as the engine sees it: where a training is compared, and whether it goes on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from schedules import Schedule
from worker.engine.events import Finished


def _nowhere(_schedule: Schedule, _iterations: int, _iterations_per_epoch: int) -> Sequence[int]:
    return ()


def _goes_on() -> None:
    return None


@dataclass(frozen=True)
class Comparing:
    """How a training is compared with others on its way.

    Attributes:
        rungs: asked once for the updates after which it is compared, given its schedule with
            counts in iterations, its length, and the iterations of an epoch.
        enough: asked after each Standing; a sentence, which says why, ends the training there.
    """

    rungs: Callable[[Schedule, int, int], Sequence[int]] = _nowhere
    enough: Callable[[], str | None] = _goes_on

    def within(
        self, schedule: Schedule, iterations: int, per_epoch: int, *, start: int
    ) -> frozenset[int]:
        """The rungs before the end of a training that has made `start` updates, that one too."""
        rungs = self.rungs(schedule, iterations, per_epoch)
        return frozenset(each for each in rungs if max(start, 1) <= each < iterations)


ALONE = Comparing()


def stopped(end: Finished, iteration: int, why: str) -> Finished:
    """The end of a training that was stopped early."""
    return replace(end, result={**end.result, "stopped": {"iteration": iteration, "why": why}})
