"""Second opinions on the edge of a range test, taken in passing: they leave the test as it is.

Up the ramp of one repeat each check says, again and again, which rate it allows the model as it is
there. Its bound is the rate at which the ramp leaves that behind.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import torch
from pydantic import JsonValue

from schedules.analysis import Agreement, Family, agreement
from schedules.values import F64
from spec.jobs import Check
from spec.states import Reason
from worker.engine.errors import EngineError
from worker.engine.evaluate import number
from worker.engine.events import State
from worker.engine.line_search import longest_update
from worker.engine.optimizers import family
from worker.engine.recipe import Learner, Recipe
from worker.engine.splits import Split
from worker.engine.stability import stability_limit

BEGIN = 0.03
"""Share of the ramp before the first measurement: an optimizer needs it for its averages."""

SHORTEST_STEP = 10**0.2
"""From one measured rate to the next, where the ramp is close to what is allowed, or beyond."""

LONGEST_STEP = 10.0
"""The same where it is far away: what is allowed now may soon not be."""

BATCHES = 4
"""Of the line search, which takes their median: the first ones of the training split."""

MARGIN: dict[Check, dict[Family, float]] = {
    "curvature": {"sgd": 2.0, "adam": 1.0},
    "line_search": {"sgd": 0.8, "adam": 0.8},
}
"""The ramp leaves behind what is allowed where it first is so many times that.

Up to twice the limit of stability, SGD leaps to where the loss is less curved and goes on from
there (Lewkowycz et al., arXiv 2003.02218); what Adam divides by grows with such a leap. What the
line search allows is often approached and never passed.
"""


@dataclass
class Measured:
    """What one check has allowed so far, at which rates of the ramp."""

    check: Check
    margin: float
    rates: list[float] = field(default_factory=list)
    allowed: list[float] = field(default_factory=list)

    def bound(self) -> float | None:
        """The rate at which the ramp leaves behind what is allowed; None where it has not.

        Between two measurements it is interpolated, in logarithms.
        """
        with np.errstate(divide="ignore"):  # nothing at all may be allowed
            beyond = np.log(self.rates) - np.log(self.allowed) - math.log(self.margin)
        if not (beyond > 0).any():
            return None
        i = int((beyond > 0).argmax())
        if i == 0 or not np.isfinite(beyond[i - 1 : i + 1]).all():
            return self.rates[i]
        share = -beyond[i - 1] / (beyond[i] - beyond[i - 1])
        return float(self.rates[i - 1] * (self.rates[i] / self.rates[i - 1]) ** share)

    def result(self) -> dict[str, JsonValue]:
        """As it stands in a job's result; `allowed` is None where there is no limit."""
        return {"lr": self.bound(), "at": [*self.rates], "allowed": [*map(number, self.allowed)]}


class Checks:
    """The checks of one repeat, ever closer together as the ramp nears what they allow."""

    def __init__(self, wanted: tuple[Check, ...], recipe: Recipe, *, seed: int) -> None:
        self._recipe = recipe
        self._seed = seed
        kind = family(recipe.optimizer)
        self._measured = [Measured(each, MARGIN[each][kind]) for each in dict.fromkeys(wanted)]
        self._after: int | None = None
        self._next_rate = 0.0

    def due(self, rates: F64) -> int:
        """Before which update of the ramp to measure next; its length where all is known."""
        if all(each.bound() is not None for each in self._measured):
            return rates.size
        if self._after is None:
            return max(1, round(BEGIN * rates.size))
        return max(self._after + 1, int(np.searchsorted(rates, self._next_rate)))

    def measure(self, learner: Learner, rates: F64, iteration: int) -> None:
        """Ask every check that has no bound yet, before that update of the ramp."""
        lr = float(rates[iteration])
        nearest = math.inf
        for each in self._measured:
            if each.bound() is not None:
                continue
            allowed = self._measured_of(each, learner, lr)
            if allowed is None or math.isnan(allowed):
                continue
            each.rates.append(lr)
            each.allowed.append(allowed)
            # of two, since one measurement may be far too high
            nearest = min(nearest, each.margin * min(each.allowed[-2:]))
        self._after = iteration
        halfway = math.sqrt(nearest / lr)  # in log lr
        self._next_rate = lr * min(max(SHORTEST_STEP, halfway), LONGEST_STEP)

    def state_dict(self) -> State:
        """What has been measured, and when to measure next."""
        return {
            "measured": [
                {"rates": [*each.rates], "allowed": [*each.allowed]} for each in self._measured
            ],
            "after": self._after,
            "next_rate": self._next_rate,
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from there."""
        for each, kept in zip(self._measured, state["measured"], strict=True):
            each.rates, each.allowed = [*kept["rates"]], [*kept["allowed"]]
        self._after, self._next_rate = state["after"], state["next_rate"]

    def result(self) -> dict[str, JsonValue]:
        """What each check found, by its name."""
        return {each.check: each.result() for each in self._measured}

    def agreement(self, edge: float | None) -> Agreement | None:
        """How well the bounds and the edge agree."""
        return agreement(edge, [self._counted(each, edge) for each in self._measured])

    def _counted(self, measured: Measured, edge: float | None) -> float | None:
        """The bound; where the ramp was never beyond, the last rate that shows so past the edge."""
        bound = measured.bound()
        if bound is not None or edge is None or not measured.rates:
            return bound
        return measured.rates[-1] if measured.rates[-1] > edge else None

    def _measured_of(self, measured: Measured, learner: Learner, lr: float) -> float | None:
        if not self._recipe.plugged:
            return self._allowed(measured, learner, lr)
        try:
            return self._allowed(measured, learner, lr)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError) as error:
            raise EngineError(
                Reason.INVALID,
                f"/checks: {measured.check} cannot be measured of this plug-in: leave it out"
                f" ({type(error).__name__}: {error})",
            ) from error

    def _allowed(self, measured: Measured, learner: Learner, lr: float) -> float | None:
        recipe = self._recipe
        if measured.check == "curvature":
            return stability_limit(
                learner,
                recipe.optimizer,
                recipe.probe,
                seed=self._seed,
                criterion=recipe.criterion,
            )
        before = measured.allowed[-1] if measured.allowed else lr
        guess = before / lr if 0 < before < math.inf else 1.0
        return lr * median(
            longest_update(
                learner.model,
                learner.optimizer,
                batch.inputs,
                batch.labels,
                lr=lr,
                guess=guess,
                criterion=recipe.criterion,
            )
            for batch in self._batches()
        )

    def _batches(self) -> Iterator[Split]:
        whole = min(BATCHES, self._recipe.iterations_per_epoch)
        return self._recipe.dataset.train.in_order(self._recipe.batch_size, most=whole)
