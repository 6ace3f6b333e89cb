"""What holds for every schedule of every policy, whatever its numbers."""

from time import process_time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules import POLICIES, Schedule
from schedules.values import MAX_RATE
from tests.policies import (
    CLOSED_FORM,
    COUNTS,
    EVALUATED,
    EXAMPLES,
    NAMES,
    POLICY,
    example,
    schedule,
    schedules,
    schedules_json,
)

RUNS = st.integers(1, 300) | st.integers(1, 10**9)
TIMES = st.lists(st.integers(0, 2000) | st.integers(0, 10**10), min_size=1, max_size=9)

COUNT_FIELDS = {"step_size", "milestones", "warmup", "t_0", "timescale", "decay", "length"}
RATE_FIELDS = {"lr", "base_lr", "max_lr"}


def test_every_policy_has_an_example() -> None:
    assert set(EXAMPLES) == set(NAMES)
    assert [type(schedule(name)) for name in NAMES] == list(POLICIES)


@given(schedules(), RUNS, TIMES)
def test_rates_are_finite_and_stay_after_the_end(
    schedule: Schedule, iterations: int, t: list[int]
) -> None:
    found = schedule.lr_at(t, iterations=iterations)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= MAX_RATE * (1 + 1e-12)).all()
    clamped = schedule.lr_at(np.minimum(t, iterations - 1), iterations=iterations)
    assert found.tolist() == clamped.tolist()
    momentum = schedule.momentum_at(t, iterations=iterations)
    if momentum is not None:
        assert ((momentum >= -1e-15) & (momentum < 1)).all()


@given(schedules(), RUNS, TIMES)
def test_a_rate_does_not_depend_on_what_else_is_asked(
    schedule: Schedule, iterations: int, t: list[int]
) -> None:
    """To the last bit: a resumed run has the rates of one that went through."""
    found = schedule.lr_at(t, iterations=iterations)
    assert found.tolist() == [float(schedule.lr_at(i, iterations=iterations)) for i in t]
    assert found.tolist() == schedule.lr_at(t[::-1], iterations=iterations)[::-1].tolist()


@pytest.mark.parametrize("name", EVALUATED)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (6,), (2, 3)])
def test_rates_have_the_shape_of_the_iterations(name: str, shape: tuple[int, ...]) -> None:
    t = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    assert schedule(name).lr_at(t, iterations=10).shape == shape


@pytest.mark.parametrize("name", EVALUATED)
def test_a_whole_run_is_its_iterations_one_by_one(name: str) -> None:
    whole = schedule(name).lr_at(np.arange(1000), iterations=1000)
    for start in (0, 1, 300, 997):
        part = schedule(name).lr_at(np.arange(start, 1000), iterations=1000)
        assert part.tolist() == whole[start:].tolist()


@pytest.mark.parametrize("name", EVALUATED)
@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_runs_of_next_to_no_iterations(name: str, iterations: int) -> None:
    found = schedule(name).lr_at(np.arange(iterations + 2), iterations=iterations)
    assert np.isfinite(found).all()
    assert found[0] > 0
    assert schedule(name).warnings(iterations) is not None


@given(schedules_json(CLOSED_FORM).filter(lambda fields: fields["policy"] != "noam"), COUNTS, RUNS)
def test_warm_up_goes_before_and_changes_nothing_after(
    fields: dict[str, Any], warmup: int, iterations: int
) -> None:
    bare = POLICY.validate_python({**fields, "warmup": None})
    warm = POLICY.validate_python({**fields, "warmup": warmup})
    t = np.array([0, warmup // 2, warmup - 1])
    rest = max(1, iterations - warmup)
    first = bare.lr_at(0, iterations=rest)
    ramp = warm.lr_at(t[t < iterations], iterations=iterations)
    assert ramp.tolist() == (first * ((t[t < iterations] + 1) / warmup)).tolist()
    if iterations > warmup:
        after = np.array([0, 1, rest // 3, rest - 1])
        found = warm.lr_at(warmup + after, iterations=iterations)
        assert found.tolist() == bare.lr_at(after, iterations=rest).tolist()
        # the last update of the warm-up has the rate that the schedule begins with
        assert warm.lr_at(warmup - 1, iterations=iterations) == first


@given(schedules())
def test_a_schedule_survives_json(schedule: Schedule) -> None:
    assert POLICY.validate_json(schedule.model_dump_json()) == schedule


def replaced(value: Any, fields: set[str], change: Any, *, inside: bool = False) -> Any:
    """The same JSON with every number under one of the fields changed."""
    if isinstance(value, dict):
        return {
            key: replaced(each, fields, change, inside=key in fields) for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [replaced(each, fields, change, inside=inside) for each in value]
    return change(value) if inside and isinstance(value, int | float) else value


@given(schedules_json(EVALUATED))
def test_epochs_become_the_iterations_they_are(fields: dict[str, Any]) -> None:
    """With one iteration an epoch, `n` epochs are `n` iterations."""
    short = replaced(fields, COUNT_FIELDS, lambda n: n if n < 1 else min(n, 10**6))
    in_epochs = replaced(short, COUNT_FIELDS, lambda n: n if n < 1 else {"epochs": float(n)})
    if fields["policy"] == "wsd" and short["decay"] == 1.0:
        return
    given = POLICY.validate_python(in_epochs)
    expected = POLICY.validate_python(short)
    assert given.in_epochs() == (given != expected)
    assert given.resolve(iterations_per_epoch=1) == expected
    assert not expected.in_epochs()


@given(schedules_json(EVALUATED))
def test_references_become_the_rates_they_are_given(fields: dict[str, Any]) -> None:
    rates: list[float] = []

    def referred(rate: float) -> dict[str, str]:
        rates.append(rate)
        return {"range_test": f"job_{len(rates) - 1}"}

    given = POLICY.validate_python(replaced(fields, RATE_FIELDS, referred))
    references = given.references()
    assert sorted(each.range_test for each in references) == sorted(
        f"job_{i}" for i in range(len(rates))
    )
    found = {each.pointer: rates[int(each.range_test[4:])] for each in references}
    assert given.with_rates(found) == POLICY.validate_python(fields)
    assert given.with_rates(found).references() == []


@given(schedules(["triangular", "triangular2", "exp_range", "sgdr", "snapshot"]), RUNS)
def test_cycles_end_where_the_rate_is_lowest(schedule: Schedule, iterations: int) -> None:
    whole = schedule.whole_cycles(iterations)
    if whole == 0:
        return
    start = schedule.cycle_end(whole - 1, iterations=iterations) if whole > 1 else schedule.warmup
    end = schedule.cycle_end(whole, iterations=iterations)
    start = start or 0
    assert end is not None
    assert start < end <= iterations
    t = np.unique(np.linspace((start + end) // 2, end - 1, 50).round())
    found = schedule.lr_at(t, iterations=iterations)
    assert (found[-1] <= found * (1 + 1e-9)).all()


@given(schedules(), RUNS)
def test_warnings_are_sentences_about_the_run(schedule: Schedule, iterations: int) -> None:
    for each in schedule.warnings(iterations):
        assert each
        assert each[-1] not in ".\n"


@pytest.mark.parametrize("name", NAMES)
def test_formula_and_source_are_there(name: str) -> None:
    policy = POLICY.validate_python(example(name))
    assert "lr" in policy.formula
    assert policy.source.startswith("https://")
    assert policy.title


@pytest.mark.parametrize("name", EVALUATED)
def test_a_million_rates_take_a_moment(name: str) -> None:
    start = process_time()
    schedule(name).lr_at(np.arange(1_000_000), iterations=1_000_000)
    assert process_time() - start < 1
