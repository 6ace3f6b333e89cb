"""Coarse to fine: orders of ten, finer grids around the best, then the other fields."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedules import POLICIES
from spec.jobs import TrainingSpec
from spec.sweeps import SweepSpec
from sweeps.configurations import digest, job_spec
from sweeps.proposing import promised, propose
from sweeps.space import SweepError, merged
from sweeps.trials import Trial
from tests.policies import NAMES, example
from tests.sweeping import MAX_LR, TEMPLATE, sweep

REST = {"/optimizer/params/momentum": [0.8, 0.95], "/seed": [0, 1]}


def searched(
    spec: SweepSpec, value: Callable[[float], float | None], *, at_once: int = 3
) -> list[Trial]:
    """The trials of a sweep, whose values follow from the rate alone."""
    trials: list[Trial] = []
    while proposals := propose(spec, trials, at_once):
        for each in proposals:
            rate = each.memory["rate"]
            assert isinstance(rate, float)
            trials.append(Trial(len(trials), each.parameters, "done", value(rate), each.memory))
    return trials


def valley(rate: float) -> float | None:
    """Lowest at 0.03; diverges above 0.5."""
    return None if rate > 0.5 else abs(math.log10(rate / 0.03))


def rates(trials: list[Trial], round_: int) -> list[Any]:
    return [t.memory["rate"] for t in trials if t.memory["round"] == round_]


def test_the_stages() -> None:
    spec = sweep(REST, "coarse_to_fine")
    trials = searched(spec, valley)
    assert rates(trials, 0) == [1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1]
    assert rates(trials, 1) == pytest.approx([0.01 * 10 ** (k / 3) for k in (-2, -1, 0, 1, 2)])
    best = 0.01 * 10 ** (1 / 3)
    assert rates(trials, 2) == pytest.approx([best * 10 ** (k / 9) for k in (-2, -1, 1, 2)])
    assert rates(trials, 3) == pytest.approx([best * 10 ** (1 / 9)] * 4)
    assert [t.memory["stage"] for t in trials] == ["coarse"] * 8 + ["fine"] * 9 + ["rest"] * 4
    assert len(trials) == promised(spec) == 21
    jobs = [job_spec(TEMPLATE, t.parameters) for t in trials]
    assert len({digest(job) for job in jobs}) == 21
    for job, trial in zip(jobs, trials, strict=True):
        assert isinstance(job, TrainingSpec)
        brief = trial.memory["stage"] == "coarse"
        assert job.iterations(iterations_per_epoch=1) == 100
        assert job.schedule.policy == ("constant" if brief else "triangular")
        if not brief:
            lr = job.schedule.lr_at([0, 20], iterations=100)
            assert lr == pytest.approx([trial.memory["rate"] / 10, trial.memory["rate"]])  # type: ignore[operator]
    pairs = [
        (t.parameters["/optimizer/params/momentum"], t.parameters["/seed"]) for t in trials[17:]
    ]
    assert pairs == [(0.8, 0), (0.8, 1), (0.95, 0), (0.95, 1)]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(2, 7),
    st.integers(1, 3),
    st.floats(-6.5, 0),
    st.sampled_from(["minimize", "maximize"]),
)
def test_it_closes_in(at_once: int, points: int, rounds: int, best: float, direction: str) -> None:
    sign = 1 if direction == "minimize" else -1
    sampler = {"name": "coarse_to_fine", "points": points, "rounds": rounds}
    spec = sweep({}, sampler, objective={"direction": direction})
    trials = searched(spec, lambda rate: sign * abs(math.log10(rate) - best), at_once=at_once)
    assert len(trials) <= promised(spec)
    found = min(trials, key=lambda t: sign * (t.value or 0.0)).memory["rate"]
    assert isinstance(found, float)
    assert abs(math.log10(found) - best) <= (2 / (points + 1)) ** rounds + 1e-6
    again = searched(spec, lambda rate: sign * abs(math.log10(rate) - best), at_once=1)
    assert [t.parameters for t in again] == [t.parameters for t in trials]


def test_a_stage_waits_for_the_one_before_it() -> None:
    spec = sweep(REST, "coarse_to_fine")
    trials = searched(spec, valley)
    for number, trial in enumerate(trials):
        waiting = Trial(number, trial.parameters, "running", None, trial.memory)
        proposals = propose(spec, [*trials[:number], waiting], 100)
        assert {each.memory["round"] for each in proposals} <= {trial.memory["round"]}
        assert propose(spec, trials[:number], 1)[0].parameters == trial.parameters


def test_what_diverges_failed_or_was_stopped_is_not_the_best() -> None:
    spec = sweep({}, "coarse_to_fine")
    trials = searched(spec, lambda rate: None if rate > 1e-5 else 1.0)[:8]
    (following, *_) = propose(spec, trials, 1)
    assert following.memory["rate"] == pytest.approx(1e-7)  # a tie: the lowest, within bounds
    worse = [
        Trial(
            t.number,
            t.parameters,
            "stopped" if i == 6 else "failed" if i == 7 else "done",
            -i,
            t.memory,
        )
        for i, t in enumerate(trials)
    ]
    assert propose(spec, worse, 3)[2].memory["rate"] == pytest.approx(1e-2)
    none = [replace(t, state="failed" if i == 7 else "stopped") for i, t in enumerate(worse)]
    assert propose(spec, none, 3)[2].memory["rate"] == pytest.approx(1e-1)  # better than nothing


def test_it_ends_where_nothing_descends() -> None:
    assert len(searched(sweep(REST, "coarse_to_fine"), lambda _: None)) == 8
    assert len(searched(sweep(REST, "coarse_to_fine"), lambda r: 1.0 if r < 1e-3 else None)) > 8


@pytest.mark.parametrize("name", NAMES)
def test_every_policy_with_one_rate(name: str) -> None:
    template = {**TEMPLATE, "schedule": example(name)}
    spec = sweep({}, "coarse_to_fine", template=template)
    (policy,) = [p for p in POLICIES if p.model_fields["policy"].default == name]
    if not {"lr", "max_lr"} & policy.model_fields.keys():
        with pytest.raises(SweepError, match="no one rate") as error:
            promised(spec)
        assert error.value.pointer == "/sampler/path"
        return
    trials = searched(spec, valley)
    for trial in trials:
        job = job_spec(template, trial.parameters)
        assert isinstance(job, TrainingSpec)
        highest = job.schedule.lr_at(range(100), iterations=100).max()
        assert highest <= trial.memory["rate"] * 1.0001  # type: ignore[operator]


def test_snapshots_are_left_out_of_the_brief_runs() -> None:
    template = {**TEMPLATE, "snapshots": "cycle_end"}
    spec = sweep({}, {"name": "coarse_to_fine", "iterations": 7}, template=template)
    trials = searched(spec, valley)
    jobs = [job_spec(template, t.parameters) for t in trials]
    assert [job.snapshots for job in jobs if isinstance(job, TrainingSpec)] == (
        [None] * 8 + ["cycle_end"] * 9
    )
    assert merged(template, trials[0].parameters)["length"] == {"iterations": 7}


def test_another_field_and_its_ends() -> None:
    path = "/schedule/pieces/0/schedule/lr"
    template = {**TEMPLATE, "schedule": example("piecewise")}
    sampler = {"name": "coarse_to_fine", "path": path, "low": 1e-4, "high": 0.5}
    trials = searched(sweep({}, sampler, template=template), valley)
    assert rates(trials, 0) == [1e-4, 1e-3, 1e-2, 0.1]
    assert trials[-1].parameters == {path: trials[-1].memory["rate"]}
    assert all(isinstance(job_spec(template, t.parameters), TrainingSpec) for t in trials)


def test_the_space_may_say_where_the_rates_end() -> None:
    trials = searched(sweep({**MAX_LR, **REST}, "coarse_to_fine"), valley)
    assert rates(trials, 0) == [0.01, 0.1, 1]
    assert min(t.memory["rate"] for t in trials) == 0.01  # type: ignore[type-var]
    assert next(iter(trials[-1].parameters)) == "/schedule/max_lr"


def test_constraints_are_heeded() -> None:
    constraints = ["/schedule/max_lr <= 0.011", "/seed < 1"]
    trials = searched(sweep(REST, "coarse_to_fine", constraints=constraints), valley)
    assert len(rates(trials, 1)) == 3
    assert {t.parameters["/seed"] for t in trials if t.memory["stage"] == "rest"} == {0}


def test_ranges_of_the_rest_share_what_is_left() -> None:
    space = {"/optimizer/params/weight_decay": {"low": 1e-6, "high": 1e-2, "log": True}}
    assert len(searched(sweep(space, "coarse_to_fine", jobs=27), valley)) == 27
    with pytest.raises(SweepError, match="needs `points`"):
        promised(sweep(space, "coarse_to_fine"))


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"template": {**TEMPLATE, "kind": "range_test"}}, "/template/kind"),
        ({"jobs": 17}, "/budget/jobs"),
        ({"space": {"/schedule": [{}]}}, "/space/~1schedule"),
        ({"space": {"/schedule/policy": ["cosine"]}}, "/space/~1schedule~1policy"),
        ({"space": {"/schedule/max_lr": [0.1, 0.2]}}, "/space/~1schedule~1max_lr"),
        (
            {"template": {**TEMPLATE, "schedule": {"policy": "triangular", "base_lr": 0.1}}},
            "/template/schedule/max_lr",
        ),
    ],
)
def test_what_cannot_be_searched(fields: dict[str, Any], pointer: str) -> None:
    space = fields.pop("space", REST)
    with pytest.raises(SweepError) as error:
        promised(sweep(space, "coarse_to_fine", **fields))
    assert error.value.pointer == pointer
