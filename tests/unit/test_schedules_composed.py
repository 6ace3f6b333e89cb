"""Schedules with cycles, of several pieces, inside policy auto, and what is odd about them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schedules import Auto, Piecewise, Schedule
from tests.policies import CLOSED_FORM, NAMES, POLICY, example, schedule, schedules_json

AUTO = {"range_test": "auto"}
CYCLE = {"policy": "triangular", "base_lr": 0.1, "max_lr": 1.0, "step_size": 5}
FLAT = {"policy": "constant", "lr": 0.1}


def piecewise(*pieces: tuple[dict[str, Any], int | None], **fields: Any) -> Piecewise:
    listed = [{"schedule": each, "length": length} for each, length in pieces]
    return Piecewise.model_validate({"pieces": listed, **fields})


PIECES = st.lists(
    st.tuples(schedules_json(CLOSED_FORM), st.integers(1, 100)), min_size=1, max_size=4
)


@given(PIECES, st.integers(-50, 400))
def test_pieces_are_runs_of_their_own(pieces: list[tuple[dict[str, Any], int]], more: int) -> None:
    total = sum(length for _, length in pieces)
    run = max(1, total + more)
    expected = np.concatenate(
        [
            POLICY.validate_python(each).lr_at(np.arange(length), iterations=length)
            for each, length in pieces
        ]
    )
    expected = np.append(expected, np.full(max(0, run - total), expected[-1]))[:run]
    found = piecewise(*pieces).lr_at(np.arange(run), iterations=run)
    assert found.tolist() == expected.tolist()


def test_the_last_piece_takes_the_rest_of_the_run() -> None:
    linear = {"policy": "linear", "lr": 1.0}
    found = piecewise((FLAT, 10), (linear, None)).lr_at(np.arange(21), iterations=21)
    assert found.tolist() == pytest.approx([0.1] * 10 + np.linspace(1, 0, 11).tolist())
    assert piecewise((FLAT, 10), (linear, None)).lr_at([99], iterations=5).tolist() == [0.1]


def test_momentum_stays_where_a_piece_has_left_it() -> None:
    cycle = {**CYCLE, "base_momentum": 0.8, "max_momentum": 0.9}
    found = piecewise((FLAT, 3), (cycle, 8), (FLAT, 4)).momentum_at(range(20), iterations=15)
    assert found is not None
    within = [0.9, 0.88, 0.86, 0.84, 0.82, 0.8, 0.82, 0.84]
    assert found.tolist() == pytest.approx([0.9] * 3 + within + [0.84] * 9)
    assert piecewise((FLAT, 3), (CYCLE, 8)).momentum_at([0], iterations=15) is None


def test_cycles_end_within_their_pieces() -> None:
    schedule = piecewise((CYCLE, 25), (FLAT, 10), (CYCLE, None), warmup=2)
    # two whole cycles and half a one, ten flat iterations, and cycles without end
    assert [schedule.cycle_end(n) for n in range(1, 6)] == [12, 22, 47, 57, 67]
    assert [schedule.cycle_end(n, iterations=60) for n in range(1, 6)] == [12, 22, 47, 57, None]
    assert schedule.whole_cycles(60) == 4
    snapshots = {"policy": "snapshot", "lr": 1.0, "cycles": 2}
    last = piecewise((FLAT, 10), (snapshots, None))
    assert [last.cycle_end(n, iterations=30) for n in (1, 2, 3)] == [20, 30, None]
    assert last.cycle_end(1) is None


@pytest.mark.parametrize("name", NAMES)
def test_only_what_has_cycles_says_when_they_end(name: str) -> None:
    given_ = schedule(name)
    assert given_.has_cycles == (given_.cycle_end(1, iterations=1000) is not None)
    assert given_.cyclical or not given_.has_cycles
    assert given_.whole_cycles(1000) == 0 or given_.has_cycles


def test_pieces_need_their_lengths_but_the_last() -> None:
    with pytest.raises(ValidationError, match="must be given: another piece follows"):
        piecewise((FLAT, None), (FLAT, 10))
    with pytest.raises(ValidationError):
        Piecewise(pieces=())
    for inner in ("piecewise", "plateau", "hypergradient", "auto"):
        with pytest.raises(ValidationError):
            piecewise((example(inner), 10))


def test_a_reference_within_a_piece() -> None:
    peak = {"policy": "cosine", "lr": {"range_test": "job_1"}}
    schedule = piecewise((FLAT, 10), (peak, None))
    (reference,) = schedule.references()
    assert (reference.pointer, reference.suggested) == ("/pieces/1/schedule/lr", "fixed_lr")
    ready = schedule.with_rates({reference.pointer: 0.5})
    assert ready.lr_at(10, iterations=20) == 0.5


def test_auto_becomes_the_schedule_inside() -> None:
    auto = Auto()
    (reference,) = auto.references()
    assert (reference.pointer, reference.range_test) == ("/schedule/max_lr", "auto")
    suggestion = {"base_lr": 0.1, "max_lr": 0.4, "fixed_lr": 0.2}
    assert auto.following(suggestion) == schedule("one_cycle", max_lr=0.4)
    both = Auto.model_validate({"schedule": {**CYCLE, "base_lr": AUTO, "max_lr": AUTO}})
    assert both.following(suggestion) == schedule(
        "triangular", base_lr=0.1, max_lr=0.4, step_size=5
    )
    assert both.cycle_end(2) == 20
    assert len(both.warnings(21)) == 1
    held = Auto.model_validate({"schedule": {"policy": "plateau", "lr": AUTO}})
    assert held.following(suggestion) == schedule("plateau", lr=0.2)
    assert not held.has_cycles


def test_auto_keeps_what_comes_from_elsewhere() -> None:
    mixed = {**CYCLE, "base_lr": {"range_test": "job_7"}, "max_lr": AUTO}
    auto = Auto.model_validate({"schedule": mixed}).with_rates({"/schedule/base_lr": 0.1})
    assert [each.pointer for each in auto.references()] == ["/schedule/max_lr"]
    with pytest.raises(ValidationError, match="must be >= base_lr"):
        auto.following({"max_lr": 0.05})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"schedule": FLAT}, 'must take a rate from {"range_test": "auto"}; it needs'),
        ({"warmup": 10}, "must be a field of the schedule inside"),
        ({"schedule": {"policy": "auto"}}, "does not match any of the expected tags"),
        ({"repeats": 0}, "greater than or equal to 1"),
    ],
)
def test_what_makes_no_auto_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Auto.model_validate(wrong)


def test_auto_rates_are_for_auto_alone() -> None:
    for stray in (
        {**FLAT, "lr": AUTO},
        {"policy": "piecewise", "pieces": [{"schedule": {**FLAT, "lr": AUTO}}]},
    ):
        with pytest.raises(ValidationError, match="is for the schedule inside policy auto"):
            POLICY.validate_python(stray)


def said(schedule: Schedule, iterations: int) -> str:
    return "; ".join(schedule.warnings(iterations))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"sgdr", "exp_range"}])
def test_nothing_is_odd_about_the_examples(name: str) -> None:
    assert schedule(name).warnings(1000) == []


def test_what_is_odd_is_said() -> None:
    cycle = schedule("triangular", step_size=5)
    assert cycle.warnings(30) == []
    assert said(cycle, 33) == (
        "the run stops inside a cycle: 33 iterations, and cycle 4 ends at 40;"
        " stop there to end with a whole one"
    )
    assert said(schedule("linear", warmup=30), 30) == (
        "the run ends within its warm-up: 30 iterations, warmup 30"
    )
    assert "never steps down: step_size 300" in said(schedule("step"), 300)
    assert "milestones that do not come in 500 iterations: 700" in said(schedule("multi_step"), 500)
    assert "never stable" in said(schedule("wsd", decay=100), 100)
    assert "within its warm-up" in said(schedule("noam"), 100)
    assert "too few for 7 cycles" in said(schedule("snapshot", cycles=7), 10)
    assert "the last cycle has 1 of 3 iterations" in said(schedule("snapshot", cycles=4), 10)
    assert said(schedule("snapshot", cycles=5), 1003) == ""


def test_what_is_odd_about_pieces_is_said() -> None:
    schedule = piecewise((CYCLE, 25), (FLAT, 10))
    inside = "piece 1: the run stops inside a cycle: 25 iterations, and cycle 3 ends at 30;"
    assert said(schedule, 35).startswith(inside)
    assert "piece 2 is cut short: it would end at 35 of 30" in said(schedule, 30)
    assert "piece 2 never begins: it would at iteration 25 of 20" in said(schedule, 20)
    assert "the last piece ends at 35 of 99" in said(schedule, 99)
    assert "within its warm-up" in said(piecewise((FLAT, 10), warmup=9), 9)
