"""Early stopping: where jobs are compared, and which go on."""

import doctest
import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from schedules import Policy
from schedules.schedule import Schedule
from schedules.values import UnresolvedError
from spec.sweeps import Direction, Stopping
from sweeps import stopping as module
from sweeps.stopping import MOST, Decision, Rung, Score, Values, bracket_of, rungs, score

NAMES: Any = st.sampled_from(["median", "asha", "hyperband"])
DIRECTIONS: Any = st.sampled_from(["minimize", "maximize"])
VALUE = st.none() | st.floats(width=32) | st.integers(-3, 3).map(float)
HERE = Rung(iteration=30, count=3, unit="cycle")


def schedule(**fields: Any) -> Schedule:
    found: Schedule = TypeAdapter(Policy).validate_python(fields)
    return found


def triangular(step_size: Any = 5) -> Schedule:
    return schedule(policy="triangular", base_lr=0.01, max_lr=0.1, step_size=step_size)


CONSTANT = schedule(policy="constant", lr=0.1)
GROWING = schedule(policy="sgdr", lr=0.1, t_0=10, t_mult=2, warmup=5)


def stopping(name: str, **fields: Any) -> Stopping:
    return Stopping.model_validate({"name": name, **fields})


def decide(
    rule: Stopping, rung: Rung, values: Values, others: Sequence[Values], direction: Direction
) -> Decision:
    """As the module does, given whole histories."""
    scores = [score(each, direction) for each in others]
    return module.decide(rule, rung, score(values, direction), scores, direction)


@st.composite
def compared(draw: st.DrawFn) -> tuple[Stopping, list[float | None], list[list[float | None]], Any]:
    """A way to stop, a job's values, those of others at as many rungs, and a direction."""
    so_far = draw(st.integers(1, 3))
    values = st.lists(VALUE, min_size=so_far, max_size=so_far)
    rule = stopping(draw(NAMES), eta=draw(st.integers(2, 5)))
    return rule, draw(values), draw(st.lists(values, max_size=12)), draw(DIRECTIONS)


def good(value: float | None, direction: str) -> float:
    """The larger, the better."""
    if value is None or not math.isfinite(value):
        return -math.inf
    return -value if direction == "minimize" else value


def test_the_documentation_runs() -> None:
    assert doctest.testmod(module).failed == 0


def test_asha_compares_at_powers_of_eta() -> None:
    found = rungs(triangular(), 1000, stopping("asha", eta=3, grace=2), 1)
    assert [(each.count, each.iteration) for each in found] == [
        (2, 20), (6, 60), (18, 180), (54, 540),
    ]  # fmt: skip
    assert found[1].place == "0/cycle/6"


def test_median_compares_at_every_cycle_end() -> None:
    found = rungs(triangular(), 57, stopping("median", grace=2), 1)
    assert [each.iteration for each in found] == [20, 30, 40, 50]


def test_the_end_is_no_rung() -> None:
    assert [each.iteration for each in rungs(triangular(), 40, stopping("median"), 1)] == [
        10,
        20,
        30,
    ]


def test_cycles_of_growing_length_and_a_warm_up() -> None:
    found = rungs(GROWING, 200, stopping("median"), 1)
    assert [each.iteration for each in found] == [15, 35, 75, 155]


@pytest.mark.parametrize("every", [None, {"iterations": 3}])
def test_a_cycle_is_never_cut(every: Any) -> None:
    assert rungs(triangular(200), 399, stopping("median", every=every), 1) == []


def test_without_cycles_every_interval() -> None:
    rule = stopping("median", every={"epochs": 2.5}, grace=3)
    found = rungs(CONSTANT, 100, rule, 8)
    assert [(each.iteration, each.place) for each in found] == [
        (60, "0/interval/3"), (80, "0/interval/4"),
    ]  # fmt: skip


def test_without_cycles_or_interval_after_tenths() -> None:
    found = rungs(CONSTANT, 815, stopping("asha"), 1)
    assert [(each.iteration, each.after) for each in found] == [
        (81, "after 1 tenth of the run"),
        (244, "after 3 tenths of the run"),
        (733, "after 9 tenths of the run"),
    ]
    assert rungs(CONSTANT, 9, stopping("asha"), 1) == []


def test_a_long_run_is_compared_at_most_so_often() -> None:
    found = rungs(CONSTANT, 10**9, stopping("median", every={"iterations": 1}), 1)
    assert MOST / 2 <= len(found) <= MOST
    shorter = rungs(CONSTANT, 10**6, stopping("median", every={"iterations": 1}), 1)
    stride = shorter[1].count - shorter[0].count
    assert {each.count % stride for each in found} == {0}  # so that they meet


def test_counts_in_epochs_must_be_resolved() -> None:
    with pytest.raises(UnresolvedError):
        rungs(triangular({"epochs": 2}), 100, stopping("asha"), 10)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([triangular(1), triangular(7), CONSTANT, GROWING]),
    st.integers(1, 3000),
    st.builds(stopping, NAMES, eta=st.integers(2, 10), grace=st.integers(1, 30)),
    st.integers(0, 500),
)
def test_rungs_climb_within_the_run_and_after_the_grace(
    policy: Schedule, iterations: int, rule: Stopping, trial: int
) -> None:
    found = rungs(policy, iterations, rule, 1, trial=trial)
    assert found == rungs(policy, iterations, rule, 1, trial=trial)
    assert all(a.iteration < b.iteration for a, b in pairwise(found))
    for each in found:
        assert each.count >= rule.grace
        assert 0 < each.iteration < iterations
        if policy.has_cycles:
            assert each.iteration == policy.cycle_end(each.count, iterations=iterations)


def test_hyperband_is_asha_in_brackets_of_growing_grace() -> None:
    rule, asha = stopping("hyperband"), rungs(triangular(), 820, stopping("asha"), 1)
    seen = {}
    for trial in range(60):
        found = rungs(triangular(), 820, rule, 1, trial=trial)
        bracket = bracket_of(trial, brackets=len(asha) + 1, eta=3)
        assert {each.bracket for each in found} <= {bracket}
        seen[bracket] = [each.count for each in found]
    assert seen == {b: [each.count for each in asha[b:]] for b in range(len(asha) + 1)}
    assert seen[len(asha)] == []


def test_brackets_have_the_shares_of_the_paper_and_are_mixed() -> None:
    """Table 1 of Li et al. 2018: for R = 81 and eta = 3, n = 81, 34, 15, 8, 5."""
    drawn = [bracket_of(trial, brackets=5, eta=3) for trial in range(3 * 143)]
    assert Counter(drawn) == {0: 243, 1: 102, 2: 45, 3: 24, 4: 15}
    for n in range(1, 143):
        for bracket, size in enumerate((81, 34, 15, 8, 5)):
            assert abs(drawn[:n].count(bracket) - n * size / 143) < 2


def test_asha_keeps_the_best_third() -> None:
    rule, others = stopping("asha", eta=3), [[v / 10] for v in range(1, 9)]
    decided = [decide(rule, HERE, [v], others, "minimize") for v in (0.05, 0.25, 0.3, 0.35, 0.9)]
    assert [each.stop for each in decided] == [False, False, False, True, True]
    assert decided[3].why == "stopped after 3 cycles: 0.35 is number 4 of 9, and the best 3 go on"
    assert decided[1].why == "goes on after 3 cycles: 0.25 is number 3 of 9, and the best 3 go on"


def test_equal_values_rank_alike() -> None:
    assert not decide(stopping("asha"), HERE, [1.0], [[1.0]] * 20, "maximize").stop


@pytest.mark.parametrize(("name", "enough"), [("asha", 4), ("hyperband", 4), ("median", 5)])
def test_few_are_not_compared(name: str, enough: int) -> None:
    rule = stopping(name, eta=4)
    for jobs in range(1, 8):
        decision = decide(rule, HERE, [9.0], [[1.0]] * (jobs - 1), "minimize")
        assert decision.stop == (jobs >= enough)
        assert ("only" in decision.why and "at least" in decision.why) == (jobs < enough)


def test_median_takes_the_best_so_far_against_running_means() -> None:
    rule = stopping("median")
    others: list[Values] = [
        [1.0, 0.8],
        [0.9, 0.5],
        [0.8, 0.2],
        [0.4, 0.2],
        [None, 0.1],
    ]  # means .9 .7 .5 .3 inf
    assert not decide(rule, HERE, [0.7, 2.0], others, "minimize").stop
    decision = decide(rule, HERE, [0.71, 2.0], others, "minimize")
    assert decision.stop
    assert decision.why == (
        "stopped after 3 cycles: its best, 0.71, against 0.7, the median of 5 others' means"
    )


def test_the_best_here_goes_on_even_below_the_median_of_means() -> None:
    others = [[0.1, 0.9]] * 4
    assert not decide(stopping("median"), HERE, [0.8, 0.8], others, "minimize").stop


def test_values_are_asked_for() -> None:
    with pytest.raises(ValueError, match="values up to this rung"):
        score([], "minimize")


def test_a_score_is_of_what_is_finite() -> None:
    assert score([3.0, math.nan, 2.0], "maximize") == Score(2.0, 3.0, None)
    assert score([None], "minimize") == Score(None, None, None)
    assert score([1e308, 1e308], "minimize").mean == 1e308


@given(compared())
def test_what_is_not_finite_stops_and_nothing_else_that_is_best(case: Any) -> None:
    rule, values, others, direction = case
    decision = decide(rule, HERE, values, others, direction)
    assert decision == decide(rule, HERE, values, others, direction)
    own = good(values[-1], direction)
    if own == -math.inf:
        assert decision.stop
        assert "diverged" in decision.why
    elif all(own >= good(each[-1], direction) for each in others):
        assert not decision.stop


@given(compared(), st.integers(0, 2), VALUE)
def test_a_better_value_never_stops_a_job_that_goes_on(
    case: Any, at: int, value: float | None
) -> None:
    rule, values, others, direction = case
    at %= len(values)
    better = [*values]
    better[at] = max(value, values[at], key=lambda each: good(each, direction))
    if not decide(rule, HERE, values, others, direction).stop:
        assert not decide(rule, HERE, better, others, direction).stop


@given(compared(), st.randoms(use_true_random=False))
def test_the_order_of_the_others_does_not_matter(case: Any, random: Any) -> None:
    rule, values, others, direction = case
    mixed = [*others]
    random.shuffle(mixed)
    assert decide(rule, HERE, values, others, direction) == decide(
        rule, HERE, values, mixed, direction
    )


@given(st.permutations(range(9)), st.integers(2, 4))
def test_what_counts_is_the_rank_on_arrival(order: list[int], eta: int) -> None:
    rule = stopping("asha", eta=eta)
    for i, own in enumerate(order):
        before = [[float(v)] for v in order[:i]]
        rank = 1 + sum(v < own for v in order[:i])
        stops = decide(rule, HERE, [float(own)], before, "minimize").stop
        assert stops == (i + 1 >= eta and rank > (i + 1) // eta)


@given(compared())
def test_maximizing_is_minimizing_the_negative(case: Any) -> None:
    rule, values, others, direction = case
    other: Direction = "maximize" if direction == "minimize" else "minimize"

    def negative(each: Values) -> Values:
        return [None if v is None else -v for v in each]

    mirrored = decide(rule, HERE, negative(values), [negative(v) for v in others], other)
    assert decide(rule, HERE, values, others, direction).stop == mirrored.stop
