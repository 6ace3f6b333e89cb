"""An example of every learning-rate policy, and schedules of any policy drawn at random."""

from typing import Any

from hypothesis import strategies as st
from pydantic import TypeAdapter

from schedules import POLICIES, Policy, Schedule

POLICY: TypeAdapter[Policy] = TypeAdapter(Policy)

NAMES = [policy.model_fields["policy"].default for policy in POLICIES]
EVALUATED = [name for name in NAMES if name != "auto"]
CLOSED_FORM = [n for n in NAMES if n not in {"auto", "piecewise", "plateau", "hypergradient"}]

EXAMPLES: dict[str, dict[str, Any]] = {
    "constant": {"lr": 0.1},
    "step": {"lr": 0.1, "step_size": 300},
    "multi_step": {"lr": 0.1, "milestones": [300, 700]},
    "exponential": {"lr": 0.1, "gamma": 0.999},
    "polynomial": {"lr": 0.1, "power": 2.0},
    "linear": {"lr": 0.1},
    "cosine": {"lr": 0.1},
    "flat_cosine": {"lr": 0.1},
    "sgdr": {"lr": 0.1, "t_0": 100, "t_mult": 2},
    "snapshot": {"lr": 0.1, "cycles": 5},
    "triangular": {"base_lr": 0.01, "max_lr": 0.1, "step_size": 100},
    "triangular2": {"base_lr": 0.01, "max_lr": 0.1, "step_size": 100},
    "exp_range": {"base_lr": 0.01, "max_lr": 0.1, "step_size": 100, "gamma": 0.999},
    "one_cycle": {"max_lr": 0.1},
    "slanted_triangular": {"max_lr": 0.1},
    "wsd": {"lr": 0.1, "warmup": 50},
    "rex": {"lr": 0.1},
    "inverse_sqrt": {"lr": 0.1, "timescale": 100, "warmup": 100},
    "noam": {"d_model": 512, "warmup": 100},
    "piecewise": {
        "pieces": [
            {"schedule": {"policy": "constant", "lr": 0.1}, "length": 300},
            {"schedule": {"policy": "linear", "lr": 0.1}},
        ]
    },
    "plateau": {"lr": 0.1},
    "hypergradient": {"lr": 0.1},
    "auto": {},
}


def example(name: str, **changes: Any) -> dict[str, Any]:
    """A schedule of the policy as a client sends it."""
    return {"policy": name, **EXAMPLES[name], **changes}


def schedule(name: str, **changes: Any) -> Schedule:
    """The same, parsed."""
    return POLICY.validate_python(example(name, **changes))


RATES = st.floats(0, 10) | st.sampled_from([0.0, 5e-324, 1e-300, 1e6])
COUNTS = st.integers(1, 1000) | st.integers(1, 10**9)
GAMMAS = st.floats(0, 1, exclude_min=True)
DIVISORS = st.floats(1, 1e12)


@st.composite
def below(draw: st.DrawFn, high: str, low: str) -> dict[str, float]:
    """Two rates, the second not above the first."""
    pair = sorted((draw(RATES), draw(RATES)))
    return {low: pair[0], high: pair[1]}


@st.composite
def momenta(draw: st.DrawFn) -> dict[str, float | None]:
    """Both bounds of the momentum, or neither."""
    low, high = sorted((draw(st.floats(0, 0.999)), draw(st.floats(0, 0.999))))
    cycled = draw(st.booleans())
    return {"base_momentum": low if cycled else None, "max_momentum": high if cycled else None}


def _with(*parts: st.SearchStrategy[dict[str, Any]], **fields: Any) -> st.SearchStrategy[Any]:
    """The parts and the fields in one dictionary."""
    return st.tuples(*parts, st.fixed_dictionaries(fields)).map(
        lambda each: {name: value for part in each for name, value in part.items()}
    )


_CYCLE = {"step_size": COUNTS, "window": st.sampled_from(["triangular", "welch", "hann"])}
_BOUNDS = below("max_lr", "base_lr")
_DECAY = COUNTS | st.floats(0, 1, exclude_min=True).map(lambda share: {"fraction": share})

_FIELDS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "constant": _with(lr=RATES),
    "step": _with(lr=RATES, step_size=COUNTS, gamma=GAMMAS),
    "multi_step": _with(
        lr=RATES, milestones=st.lists(COUNTS, min_size=1, max_size=5).map(sorted), gamma=GAMMAS
    ),
    "exponential": _with(lr=RATES, gamma=GAMMAS),
    "polynomial": _with(below("lr", "end_lr"), power=st.floats(0, 100, exclude_min=True)),
    "linear": _with(below("lr", "end_lr")),
    "cosine": _with(below("lr", "min_lr")),
    "flat_cosine": _with(lr=RATES, pct_start=st.floats(0, 1)),
    "sgdr": _with(below("lr", "min_lr"), t_0=COUNTS, t_mult=st.integers(1, 1000)),
    "snapshot": _with(lr=RATES, cycles=st.integers(1, 100_000)),
    "triangular": _with(_BOUNDS, momenta(), **_CYCLE),
    "triangular2": _with(_BOUNDS, momenta(), **_CYCLE),
    "exp_range": _with(
        _BOUNDS, momenta(), **_CYCLE, gamma=GAMMAS, decay=st.sampled_from(["amplitude", "both"])
    ),
    "one_cycle": _with(
        momenta(),
        max_lr=RATES,
        pct_start=st.floats(0, 0.5),
        anneal_strategy=st.sampled_from(["cos", "linear"]),
        div_factor=DIVISORS,
        final_div_factor=DIVISORS,
        three_phase=st.booleans(),
    ),
    "slanted_triangular": _with(
        max_lr=RATES,
        cut_frac=st.floats(0, 1, exclude_min=True, exclude_max=True),
        ratio=DIVISORS,
    ),
    "wsd": _with(
        below("lr", "end_lr"), decay=_DECAY, shape=st.sampled_from(["linear", "cosine", "1-sqrt"])
    ),
    "rex": _with(lr=RATES),
    "inverse_sqrt": _with(lr=RATES, timescale=COUNTS),
    "noam": _with(
        d_model=st.integers(1, 10**7),
        warmup=COUNTS,
        factor=st.floats(0, 1e6, exclude_min=True),
    ),
    "plateau": _with(below("lr", "min_lr")),
    "hypergradient": _with(lr=RATES),
}


@st.composite
def _fields(draw: st.DrawFn, name: str) -> dict[str, Any]:
    if name == "piecewise":
        pieces = draw(st.lists(_pieces(), min_size=1, max_size=4))
        if draw(st.booleans()):
            del pieces[-1]["length"]
        return {"pieces": pieces}
    return draw(_FIELDS[name])


@st.composite
def _pieces(draw: st.DrawFn) -> dict[str, Any]:
    return {"schedule": draw(schedules_json(CLOSED_FORM)), "length": draw(COUNTS)}


@st.composite
def schedules_json(draw: st.DrawFn, names: list[str]) -> dict[str, Any]:
    """A schedule of one of the policies as a client may send it, in numbers."""
    name = draw(st.sampled_from(names))
    fields = {"policy": name, **draw(_fields(name))}
    if name != "noam" and draw(st.booleans()):
        fields["warmup"] = draw(COUNTS)
    return fields


def schedules(names: list[str] = EVALUATED) -> st.SearchStrategy[Schedule]:
    """Schedules of the policies, in numbers."""
    return schedules_json(names).map(POLICY.validate_python)
