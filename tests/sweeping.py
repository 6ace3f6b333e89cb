"""Sweeps for tests: a template, spaces drawn at random, and sweeps run on a function."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from spec.sweeps import SweepSpec
from sweeps.proposing import propose
from sweeps.space import Parameters
from sweeps.trials import Trial

TEMPLATE: dict[str, Any] = {
    "kind": "training",
    "model": {"name": "mlp", "params": {"hidden": [16, 16]}},
    "data": {"name": "digits"},
    "batch_size": 32,
    "optimizer": {"name": "sgd", "params": {"momentum": 0.9}},
    "schedule": {"policy": "triangular", "base_lr": 0.01, "max_lr": 0.1, "step_size": 20},
    "length": {"iterations": 100},
}

MAX_LR = {"/schedule/max_lr": {"low": 0.01, "high": 1, "log": True}}


def sweep(
    space: dict[str, Any], sampler: str | dict[str, Any] = "grid", **fields: Any
) -> SweepSpec:
    """A sweep as a client sends it, parsed; `jobs` is its budget."""
    jobs = fields.pop("jobs", None)
    named = {"name": sampler} if isinstance(sampler, str) else sampler
    body = {"template": TEMPLATE, "space": space, "sampler": named, "budget": {"jobs": jobs}}
    return SweepSpec.model_validate({**body, **fields})


def ran(
    spec: SweepSpec, value: Callable[[Parameters], float | None], *, at_once: int = 1
) -> list[Trial]:
    """The trials of a sweep whose jobs each end with a value at once."""
    trials: list[Trial] = []
    while proposals := propose(spec, trials, at_once):
        trials += [
            Trial(len(trials) + i, each.parameters, "done", value(each.parameters), each.memory)
            for i, each in enumerate(proposals)
        ]
    return trials


_NUMBERS = st.floats(-1e3, 1e3).map(lambda each: round(each, 6))


@st.composite
def _ranges(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        low, high = sorted((draw(st.integers(1, 500)), draw(st.integers(1, 500))))
        extra: Any = draw(st.sampled_from([{}, {"log": True}, {"step": 3}, {"points": 4}]))
        return {"low": low, "high": high, "integer": True, **extra}
    low_, high_ = sorted((draw(_NUMBERS), draw(_NUMBERS)))
    if low_ > 0 and draw(st.booleans()):
        return {"low": low_, "high": high_, "log": True}
    extra = draw(st.sampled_from([{}, {"step": max((high_ - low_) / 7.5, 1e-3)}, {"points": 3}]))
    return {"low": low_, "high": high_, **extra}


@st.composite
def _normals(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["normal", "lognormal"]))
    mean, sd = draw(st.floats(-3, 3)), draw(st.floats(0.1, 2))
    fields = {"distribution": kind, "mean": mean, "sd": sd}
    if kind == "normal" and draw(st.booleans()):
        fields |= {"low": mean + draw(st.floats(-4, 4)) * sd}
    return fields


CHOICES = st.lists(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from([0.5, "a", [1], {"b": 2}]),
    min_size=1,
    max_size=4,
)


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Any]:
    """Spaces of up to five fields /a, /b, ... of any kind, in any order, some conditional."""
    names = draw(st.permutations(["/a", "/b", "/c", "/d", "/e"]))[: draw(st.integers(1, 5))]
    space: dict[str, Any] = {}
    for name in names:
        dimension = draw(CHOICES.map(lambda each: {"values": each}) | _ranges() | _normals())
        earlier = [p for p in space if "values" in space[p]]
        if earlier and draw(st.booleans()):
            other = draw(st.sampled_from(earlier))
            values = draw(st.lists(st.sampled_from(space[other]["values"]), min_size=1))
            dimension = {**dimension, "when": {other: values[:3]}}
        space[name] = dimension
    return dict(draw(st.permutations(list(space.items()))))
