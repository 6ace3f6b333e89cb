"""What a schedule takes and refuses, and where its rates may come from."""

from typing import Any

import pytest
from pydantic import ValidationError

from schedules import MultiStep, Triangular
from schedules.schedule import Reference
from schedules.values import UnresolvedError
from tests.policies import EVALUATED, NAMES, POLICY, example, schedule

BOUNDS = {"base_lr": 0.001, "max_lr": 0.006, "step_size": 2000}

SUGGESTED = {
    "constant": {"lr": "fixed_lr"},
    "step": {"lr": "fixed_lr"},
    "multi_step": {"lr": "fixed_lr"},
    "exponential": {"lr": "fixed_lr"},
    "polynomial": {"lr": "fixed_lr"},
    "linear": {"lr": "fixed_lr"},
    "cosine": {"lr": "fixed_lr"},
    "flat_cosine": {"lr": "fixed_lr"},
    "sgdr": {"lr": "fixed_lr"},
    "snapshot": {"lr": "fixed_lr"},
    "triangular": {"base_lr": "base_lr", "max_lr": "max_lr"},
    "triangular2": {"base_lr": "base_lr", "max_lr": "max_lr"},
    "exp_range": {"base_lr": "base_lr", "max_lr": "max_lr"},
    "one_cycle": {"max_lr": "max_lr"},
    "slanted_triangular": {"max_lr": "max_lr"},
    "wsd": {"lr": "fixed_lr"},
    "rex": {"lr": "fixed_lr"},
    "inverse_sqrt": {"lr": "fixed_lr"},
    "noam": {},
    "piecewise": {},
    "plateau": {"lr": "fixed_lr"},
    "hypergradient": {"lr": "fixed_lr"},
}


@pytest.mark.parametrize("name", EVALUATED)
def test_what_each_rate_takes_from_a_range_test(name: str) -> None:
    fields = {field: {"range_test": "job_1"} for field in SUGGESTED[name]}
    found = schedule(name, **fields).references()
    assert {each.pointer[1:]: each.suggested for each in found} == SUGGESTED[name]
    if fields:
        with pytest.raises(UnresolvedError):
            schedule(name, **fields).lr_at(0, iterations=10)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "wrong",
    [{"surprise": 1}, {"warmup": 0}, {"warmup": -5}, {"warmup": 1.5}, {"warmup": {"epochs": 0}}],
)
def test_every_policy_refuses(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        POLICY.validate_python(example(name, **wrong))


REFUSED = [
    ("constant", {"lr": -0.1}),
    ("constant", {"lr": float("nan")}),
    ("constant", {"lr": 1e7}),
    ("step", {"step_size": 0}),
    ("step", {"gamma": 1.01}),
    ("step", {"gamma": 0.0}),
    ("multi_step", {"milestones": []}),
    ("multi_step", {"milestones": [3, 2]}),
    ("multi_step", {"milestones": [{"epochs": 3}, {"epochs": 2}]}),
    ("multi_step", {"gamma": 2.0}),
    ("exponential", {"gamma": 1.5}),
    ("polynomial", {"power": 0.0}),
    ("polynomial", {"end_lr": 0.2}),
    ("linear", {"end_lr": 0.2}),
    ("cosine", {"min_lr": 0.2}),
    ("flat_cosine", {"pct_start": 1.1}),
    ("sgdr", {"t_0": 0}),
    ("sgdr", {"t_mult": 0}),
    ("sgdr", {"t_mult": 1.5}),
    ("snapshot", {"cycles": 0}),
    ("exp_range", {"gamma": 1.1}),
    ("one_cycle", {"pct_start": -0.1}),
    ("one_cycle", {"pct_start": 0.6, "three_phase": True}),
    ("one_cycle", {"anneal_strategy": "exp"}),
    ("one_cycle", {"div_factor": 0.5}),
    ("one_cycle", {"base_momentum": None}),
    ("one_cycle", {"base_momentum": 0.96}),
    ("slanted_triangular", {"cut_frac": 0.0}),
    ("slanted_triangular", {"cut_frac": 1.0}),
    ("slanted_triangular", {"ratio": 0.5}),
    ("wsd", {"decay": 0}),
    ("wsd", {"decay": 0.2}),
    ("wsd", {"decay": {"fraction": 1.1}}),
    ("wsd", {"shape": "sqrt"}),
    ("inverse_sqrt", {"timescale": 0}),
    ("noam", {"warmup": None}),
    ("noam", {"d_model": 0}),
    ("noam", {"factor": 0.0}),
    ("plateau", {"factor": 1.0}),
    ("hypergradient", {"hyper_lr": 0.0}),
]


@pytest.mark.parametrize(("name", "wrong"), REFUSED, ids=str)
def test_what_makes_no_schedule_is_refused(name: str, wrong: dict[str, Any]) -> None:
    schedule(name)
    with pytest.raises(ValidationError):
        POLICY.validate_python(example(name, **wrong))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_lr": 0.0001},
        {"base_lr": -1.0},
        {"base_lr": float("nan")},
        {"max_lr": float("inf")},
        {"step_size": 0},
        {"step_size": 1.5},
        {"base_momentum": 0.9},
        {"base_momentum": 0.9, "max_momentum": 0.8},
        {"max_momentum": 1.0, "base_momentum": 0.5},
        {"gamma": 0.9},
    ],
)
def test_what_makes_no_cycle_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Triangular(**{**BOUNDS, **wrong})


def test_epochs_and_references_are_resolved_before_use() -> None:
    given_ = {"base_lr": {"range_test": "job_1"}, "max_lr": 0.1, "step_size": {"epochs": 1.5}}
    schedule = Triangular.model_validate(given_)
    assert schedule.references() == [Reference("/base_lr", "job_1", "base_lr")]
    with pytest.raises(UnresolvedError):
        schedule.lr_at(0, iterations=1)
    ready = schedule.with_rates({"/base_lr": 0.01}).resolve(iterations_per_epoch=45)
    assert (ready.base_lr, ready.step_size) == (0.01, 68)
    assert ready.references() == []
    with pytest.raises(ValidationError, match="must be >= base_lr"):
        schedule.with_rates({"/base_lr": 0.2})


def test_a_floor_is_compared_once_the_rate_is_known() -> None:
    schedule = POLICY.validate_python(
        {"policy": "sgdr", "lr": {"range_test": "job_1"}, "min_lr": 0.1, "t_0": 5}
    )
    with pytest.raises(ValidationError, match="must be <= lr"):
        schedule.with_rates({"/lr": 0.05})


def test_milestones_are_compared_once_they_are_in_one_unit() -> None:
    mixed = MultiStep.model_validate({"lr": 1.0, "milestones": [100, {"epochs": 2}]})
    assert mixed.resolve(iterations_per_epoch=50).milestones == (100, 100)
    with pytest.raises(ValidationError, match="must not be before the last"):
        mixed.resolve(iterations_per_epoch=49)


def test_hypergradient_begins_as_the_paper_does() -> None:
    default = POLICY.validate_python({"policy": "hypergradient"})
    assert (default.lr, default.step_for("sgd"), default.step_for("adam")) == (1e-3, 1e-3, 1e-7)
    given_ = POLICY.validate_python({"policy": "hypergradient", "hyper_lr": 0.5})
    assert (given_.step_for("sgd"), given_.step_for("adam")) == (0.5, 0.5)
