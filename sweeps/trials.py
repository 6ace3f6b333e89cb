"""What a sampler is told, and what it answers: the trials so far, and configurations to try."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from spec.sweeps import Objective
from sweeps.space import Parameters


@dataclass(frozen=True)
class Trial:
    """A configuration that a sweep has chosen, and what became of it.

    Attributes:
        number: 0, 1, ... in the order in which they were chosen.
        value: of the objective; None where there is none, as of a training that diverged.
        memory: what the sampler proposed it with.
        reached: updates that it has made.
        result: all that the job came to; None where it has none.
    """

    number: int
    parameters: Parameters
    state: Literal["waiting", "running", "done", "failed", "stopped"]
    value: float | None = None
    memory: dict[str, JsonValue] = field(default_factory=dict)
    reached: int = 0
    result: Mapping[str, JsonValue] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come of it."""
        return self.state not in {"waiting", "running"}


@dataclass(frozen=True)
class Proposal:
    """A configuration to run next, and what its sampler will want to know of it again."""

    parameters: Parameters
    memory: dict[str, JsonValue] = field(default_factory=dict)


def value_of(trial: Trial) -> float | None:
    """The value of a trial where it can be compared with others."""
    return trial.value if trial.value is not None and math.isfinite(trial.value) else None


def ranked(trials: Iterable[Trial], objective: Objective) -> list[Trial]:
    """Trials that have ended, the best first.

    One that ran to its end comes before one that was stopped on its way, of these the one that came
    further, and last come those without a value: a configuration that diverges or fails is worse
    than any that does not.
    """
    sign = 1 if objective.direction == "minimize" else -1

    def place(trial: Trial) -> tuple[int, int, float, int]:
        value = value_of(trial)
        if value is None or trial.state == "failed":
            return 2, 0, 0.0, trial.number
        if trial.state == "stopped":
            return 1, -trial.reached, sign * value, trial.number
        return 0, 0, sign * value, trial.number

    return sorted((trial for trial in trials if trial.ended), key=place)
