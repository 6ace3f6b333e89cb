"""Schedules end to end: each for its length, the last for what is left of the run."""

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from schedules.constant import Constant
from schedules.cosine import Cosine, FlatCosine, Sgdr, Snapshot
from schedules.cyclical import ExpRange, Triangular, Triangular2
from schedules.decay import Exponential, Linear, Polynomial, Rex
from schedules.inverse_sqrt import InverseSqrt, Noam
from schedules.one_cycle import OneCycle
from schedules.schedule import Schedule
from schedules.slanted import SlantedTriangular
from schedules.steps import MultiStep, Step
from schedules.values import F64, MAX_ITERATIONS, SOME, Count, Value, as_iterations
from schedules.wsd import Wsd

ClosedForm = (
    Constant
    | Step
    | MultiStep
    | Exponential
    | Polynomial
    | Linear
    | Cosine
    | FlatCosine
    | Sgdr
    | Snapshot
    | Triangular
    | Triangular2
    | ExpRange
    | OneCycle
    | SlantedTriangular
    | Wsd
    | Rex
    | InverseSqrt
    | Noam
)
"""Every policy whose rate is a function of the iteration alone."""


class Piece(Value):
    """One schedule, and how long it runs."""

    schedule: Annotated[ClosedForm, Field(discriminator="policy")]
    length: Annotated[
        Count | None, Field(description="only the last piece may leave it out: the rest of the run")
    ] = None


class _Placed(NamedTuple):
    start: int
    length: int
    schedule: Schedule


class Piecewise(Schedule):
    """Schedules end to end, each as if its piece were a run of its own.

    Past the end of the last piece the rate stays where it is. Where only some pieces cycle
    momentum, it stays between them where the piece before has left it.
    """

    title: ClassVar[str] = "Piecewise"
    formula: ClassVar[str] = (
        "piece i begins at s_i = the sum of the lengths before it\n"
        "lr(t) = the rate of piece i at t - s_i of its length, s_i <= t < s_(i+1)"
    )
    source: ClassVar[str] = (
        "https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.SequentialLR.html"
    )
    cyclical: ClassVar[bool] = True

    policy: Literal["piecewise"] = "piecewise"
    pieces: Annotated[
        tuple[Piece, ...],
        Field(
            max_length=64,
            description="one after another, each of a policy that is neither stateful nor made of"
            " others; only the last may leave out its length: the rest of the run",
        ),
        *SOME,
    ]

    @field_validator("pieces")
    @classmethod
    def _measured(cls, pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
        for i, piece in enumerate(pieces[:-1]):
            if piece.length is None:
                raise PydanticCustomError(
                    "length", "must be given: another piece follows", {"field": (i, "length")}
                )
        return pieces

    @property
    def has_cycles(self) -> bool:
        """Whether a piece has cycles."""
        return any(piece.schedule.has_cycles for piece in self.pieces)

    def warnings(self, iterations: int) -> list[str]:
        """What is odd about each piece, and pieces that the run is too short or too long for."""
        run = iterations - self._warmup()
        if run < 1:
            return super().warnings(iterations)
        found = []
        for i, (start, length, schedule) in enumerate(self._placed(run), start=1):
            if start >= run:
                found.append(f"piece {i} never begins: it would at iteration {start} of {run}")
                continue
            if start + length > run:
                found.append(f"piece {i} is cut short: it would end at {start + length} of {run}")
            own = schedule.warnings(min(length, run - start))
            found += [f"piece {i}: {each}" for each in own]
        end = start + length
        if end < run:
            found.append(f"the last piece ends at {end} of {run}; the rate stays as it is there")
        return found

    def _cycle_end(self, n: int, iterations: int | None) -> int | None:
        for piece, (start, length, schedule) in zip(
            self.pieces, self._placed(iterations), strict=True
        ):
            endless = piece.length is None and iterations is None
            whole = n if endless else schedule.whole_cycles(length)
            if n <= whole:
                end = schedule.cycle_end(n, iterations=None if endless else length)
                return None if end is None else start + end
            n -= whole
        return None

    def _lr_at(self, t: F64, iterations: int) -> F64:
        lr = np.empty_like(t)
        for inside, each in _parts(t, self._placed(iterations)):
            lr[inside] = each.schedule.lr_at(t[inside] - each.start, iterations=each.length)
        return lr

    def _momentum_at(self, t: F64, iterations: int) -> F64 | None:
        cycling = [
            each
            for each in self._placed(iterations)
            if each.schedule.momentum_at(0, iterations=each.length) is not None
        ]
        if not cycling:
            return None
        # before and after its own iterations a piece's momentum is what it begins and ends with
        momentum = np.empty_like(t)
        for inside, each in _parts(t, cycling):
            momentum[inside] = each.schedule.momentum_at(
                t[inside] - each.start, iterations=each.length
            )
        return momentum

    def _placed(self, iterations: int | None) -> list[_Placed]:
        placed, start = [], 0
        for piece in self.pieces:
            if piece.length is None:
                length = max(1, (iterations or MAX_ITERATIONS) - start)
            else:
                length = as_iterations(piece.length)
            placed.append(_Placed(start, length, piece.schedule))
            start += length
        return placed


def _parts(t: F64, placed: Sequence[_Placed]) -> Iterator[tuple[NDArray[np.bool_], _Placed]]:
    """Which iterations are nearest after the start of each, those before the first included."""
    last = np.searchsorted([each.start for each in placed], t, side="right") - 1
    for i, each in enumerate(placed):
        yield np.maximum(last, 0) == i, each
