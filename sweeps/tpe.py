"""Tree-structured Parzen estimators: configurations like the good ones, by Optuna's sampler."""

from collections.abc import Hashable, Iterator, Sequence

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import JsonValue

from spec.spaces import Choice, Dimension, Normal
from spec.sweeps import SweepSpec, Tpe
from sweeps.dimensions import at, choices, share_of, step_count, steps, tidy
from sweeps.drawing import different, generator, independent
from sweeps.space import Parameters, Space, identity
from sweeps.trials import Proposal, Trial, value_of

TRIES = 50
"""Asked so often for a configuration that is new and meets the constraints; then one is drawn."""


def propose(
    spec: SweepSpec, space: Space, sampler: Tpe, trials: Sequence[Trial], count: int
) -> Iterator[Proposal]:
    """Up to `count` configurations to try next.

    Each field has estimators of its own, so that those that are not always varied learn as well
    (Bergstra et al., NeurIPS 2011). Trials that have not ended count as bad ones: what is asked
    for meanwhile stays away from them. So do those that failed or diverged.

    Proposing two equals proposing one, and then another while that one waits.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of every study
    study = optuna.create_study(direction=spec.objective.direction)
    study.add_trials([_told(space, trial) for trial in trials])
    known = {identity(trial.parameters) for trial in trials}
    first = 1 + max((trial.number for trial in trials), default=-1)
    for number in range(first, first + count):
        parameters = _asked(space, study, sampler, number, known)
        if parameters is None:
            return
        known.add(identity(parameters))
        study.add_trial(_told(space, Trial(number, parameters, "waiting")))
        yield Proposal(parameters)


def _asked(
    space: Space, study: optuna.Study, sampler: Tpe, number: int, known: set[Hashable]
) -> Parameters | None:
    estimators = optuna.samplers.TPESampler(
        seed=int(generator(sampler.seed, number).integers(2**32)),
        n_startup_trials=sampler.startup,
        multivariate=False,
        constant_liar=True,
    )
    asking = create_trial(state=TrialState.RUNNING)

    def choose(pointer: str, dimension: Dimension) -> JsonValue:
        numbers = _distribution(dimension)
        if numbers.single():
            return at(dimension, 0.0)
        return _outside(dimension, estimators.sample_independent(study, asking, pointer, numbers))

    for _ in range(TRIES):
        parameters = space.configuration(choose)
        if parameters is not None and identity(parameters) not in known:
            return parameters
    drawn = different(space, independent(space, sampler.seed, number), 1, known=known)
    return drawn[0] if drawn else None


def _told(space: Space, trial: Trial) -> FrozenTrial:
    dimensions = {pointer: space.dimensions[pointer] for pointer in trial.parameters}
    value = value_of(trial)
    state = TrialState.PRUNED
    if not trial.ended:
        state = TrialState.RUNNING
    elif trial.state == "done" and value is not None:
        state = TrialState.COMPLETE
    # of those that are pruned, Optuna ranks first what came furthest, then the better, and last
    # those without a value
    seen = {trial.reached: value} if trial.state == "stopped" and value is not None else {}
    return create_trial(
        state=state,
        value=value if state == TrialState.COMPLETE else None,
        params={p: _inside(d, trial.parameters[p]) for p, d in dimensions.items()},
        distributions={p: _distribution(d) for p, d in dimensions.items()},
        intermediate_values=seen,
    )


def _distribution(dimension: Dimension) -> BaseDistribution:
    """The numbers that stand for the values of a field."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution(range(len(choices(dimension))))
    if isinstance(dimension, Normal):
        return FloatDistribution(0, 1)  # the share that lies below: Optuna's prior is even
    if dimension.step is not None:
        return IntDistribution(0, step_count(dimension) - 1)
    if dimension.integer:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _outside(dimension: Dimension, number: float) -> JsonValue:
    """The value of a field that a number of its distribution stands for."""
    if isinstance(dimension, Choice):
        return choices(dimension)[int(number)]
    if isinstance(dimension, Normal):
        return at(dimension, number)
    if dimension.step is not None:
        return steps(dimension)[int(number)]
    return number if dimension.integer else tidy(number, dimension)


def _inside(dimension: Dimension, value: JsonValue) -> float:
    """The inverse of `_outside`."""
    if isinstance(dimension, Choice):
        return [identity(each) for each in choices(dimension)].index(identity(value))
    assert isinstance(value, int | float)  # noqa: S101 - as proposed
    if isinstance(dimension, Normal):
        return share_of(dimension, value)
    if dimension.step is not None:
        return steps(dimension).index(value)
    return value
