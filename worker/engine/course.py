"""What a training comes to in iterations: its length, its evaluations, its snapshots."""

from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from schedules import Schedule
from schedules.values import MAX_ITERATIONS, Epochs
from spec.jobs import Snapshots, TrainingSpec
from spec.lengths import InCycles, InIterations
from spec.states import Reason
from worker.engine.errors import EngineError, invalid

MAX_SNAPSHOTS = 1000
MAX_LASTING = 20

AnySchedule = TypeVar("AnySchedule", bound=Schedule)


@dataclass(frozen=True)
class Course:
    """A training in iterations.

    Attributes:
        schedule: with every count in iterations; its rates may still be unknown.
        iterations: how many updates there are.
        every: after so many it is evaluated, None for only at its end.
        snapshots: what is kept at `cycle_ends`.
        cycle_ends: ascending; empty without snapshots.
        lasting: the ends of cycles, of many every so many, whose checkpoints are kept.
    """

    schedule: Schedule
    iterations: int
    every: int | None
    snapshots: Snapshots | None
    cycle_ends: tuple[int, ...]
    lasting: tuple[int, ...]

    @property
    def stops(self) -> tuple[int, ...]:
        """Where something is due at the end of a cycle."""
        return self.cycle_ends or self.lasting

    @property
    def members(self) -> int:
        """Of how many snapshots the ensemble is."""
        return min(self.snapshots.average_last, len(self.cycle_ends)) if self.snapshots else 0


def course(spec: TrainingSpec, per_epoch: int) -> Course:
    """The training's course on data with so many iterations per epoch.

    Raises:
        EngineError: INVALID, it is too long, or has too few cycles, or no or too many snapshots.
    """
    schedule = resolved(spec.schedule, per_epoch)
    # what has counts in epochs, the API cannot tell
    if isinstance(spec.length, InCycles) and schedule.cycle_end(spec.length.cycles) is None:
        raise EngineError(
            Reason.INVALID,
            f"/length/cycles: the schedule has fewer than {spec.length.cycles} cycles; give"
            " iterations or epochs",
        )
    iterations = spec.model_copy(update={"schedule": schedule}).iterations(
        iterations_per_epoch=per_epoch
    )
    if iterations > MAX_ITERATIONS:
        raise EngineError(
            Reason.INVALID,
            f"/length: {iterations} iterations are more than the limit of {MAX_ITERATIONS}",
        )
    snapshots = Snapshots() if spec.snapshots == "cycle_end" else spec.snapshots
    cycles = schedule.whole_cycles(iterations)
    if snapshots is not None:
        _require_snapshots(cycles, iterations)
    lasting = _cycle_ends(schedule, iterations, cycles, step=-(-cycles // MAX_LASTING))
    every = _interval(spec, per_epoch)
    if snapshots is None:
        return Course(schedule, iterations, every, None, (), lasting)
    ends = _cycle_ends(schedule, iterations, cycles)
    return Course(schedule, iterations, every, snapshots, ends, lasting)


def resolved(schedule: AnySchedule, per_epoch: int) -> AnySchedule:
    """The schedule with every count in iterations.

    Raises:
        EngineError: INVALID, a count is too large or too small for its field.
    """
    try:
        return schedule.resolve(iterations_per_epoch=per_epoch)
    except ValidationError as error:
        raise invalid(error, "schedule") from error


def _interval(spec: TrainingSpec, per_epoch: int) -> int | None:
    if spec.evaluate is None:
        return None
    match spec.evaluate.every:
        case InIterations(iterations=n):
            return n
        case Epochs() as epochs:
            return epochs.iterations(per_epoch)


def _require_snapshots(cycles: int, iterations: int) -> None:
    if cycles == 0:
        raise EngineError(
            Reason.INVALID,
            f"/snapshots: no cycle of the schedule ends within the {iterations} iterations;"
            " make the training longer or the cycles shorter",
        )
    if cycles > MAX_SNAPSHOTS:
        raise EngineError(
            Reason.INVALID,
            f"/snapshots: {cycles} cycles are more than the limit of {MAX_SNAPSHOTS} snapshots;"
            " make the cycles longer",
        )


def _cycle_ends(
    schedule: Schedule, iterations: int, cycles: int, *, step: int = 1
) -> tuple[int, ...]:
    """The end of every so many of the first cycles."""
    counted = range(step, cycles + 1, step) if cycles else ()
    ends = (schedule.cycle_end(n, iterations=iterations) for n in counted)
    return tuple(end for end in ends if end is not None)
