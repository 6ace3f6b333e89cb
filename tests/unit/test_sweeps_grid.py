"""Grids: every combination once, and ranges that share a budget."""

import gc
import json
import math
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from spec.spaces import MOST_JOBS
from sweeps.proposing import expand, promised, propose
from sweeps.space import Parameters, SweepError, identity
from sweeps.trials import Trial
from tests.sweeping import CHOICES, MAX_LR, sweep


@settings(max_examples=50)
@given(st.lists(CHOICES, min_size=1, max_size=4))
def test_every_combination_once(choices: list[list[JsonValue]]) -> None:
    spec = sweep({f"/x{i}": values for i, values in enumerate(choices)})
    found = expand(spec)
    expected = math.prod(len({identity(each) for each in values}) for values in choices)
    assert len(found) == len({identity(each) for each in found}) == expected == promised(spec)
    assert json.loads(json.dumps(found)) == found == expand(spec)


def test_the_last_field_changes_fastest() -> None:
    found = expand(sweep({"/b": [1, 2], "/a": ["x", "y"]}))
    assert [tuple(each.values()) for each in found] == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]


def test_a_range_without_points_gets_what_the_budget_leaves() -> None:
    others: dict[str, Any] = {"/optimizer/params/momentum": [0.8, 0.9], "/seed": [0, 1]}
    assert len(expand(sweep({**MAX_LR, **others}, jobs=64))) == 64
    assert len(expand(sweep({**MAX_LR, **others}, jobs=67))) == 64
    two = {**MAX_LR, **others, "/optimizer/params/weight_decay": {"low": 0, "high": 1}}
    found = expand(sweep(two, jobs=64))
    assert len(found) == 64
    decays = {each["/optimizer/params/weight_decay"] for each in found}
    assert decays == {0, 0.333333333333, 0.666666666667, 1}
    few = {**MAX_LR, "/batch_size": {"low": 1, "high": 2, "integer": True}}
    assert len(expand(sweep(few, jobs=20))) == 20


def test_a_share_heeds_conditions() -> None:
    space: dict[str, Any] = {
        "/optimizer/name": ["sgd", "adam"],
        "/optimizer/params/momentum": {
            "values": [0.8, 0.9, 0.95],
            "when": {"/optimizer/name": ["sgd"]},
        },
        **MAX_LR,
    }
    assert len(expand(sweep(space, jobs=40))) == 40  # 10 values for each of 3 + 1
    assert len({e["/schedule/max_lr"] for e in expand(sweep(space, jobs=43))}) == 10


def test_constraints_take_away() -> None:
    space = {"/a": {"low": 0, "high": 4, "points": 5}, "/b": {"low": 0, "high": 4, "points": 5}}
    spec = sweep(space, constraints=["/a < /b"], jobs=10)
    assert promised(spec) == len(expand(spec)) == 10
    assert all(each["/a"] < each["/b"] for each in expand(spec))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("space", "jobs", "pointer", "says"),
    [
        (MAX_LR, None, "/space/~1schedule~1max_lr", "needs `points` or `step`"),
        ({**MAX_LR, "/seed": [1, 2]}, 3, "/space/~1schedule~1max_lr", "of at least 4"),
        ({"/seed": list(range(7))}, 6, "/budget/jobs", "makes 7 jobs, more than the 6"),
        (
            {f"/x{i}": list(range(101)) for i in range(2)},
            None,
            "/space",
            f"makes 10201 jobs, more than the {MOST_JOBS}",
        ),
        ({f"/x{i}": list(range(1000)) for i in range(5)}, None, "/space", "1000000000000000 comb"),
    ],
)
def test_too_much_or_too_little(
    space: dict[str, Any], jobs: int | None, pointer: str, says: str
) -> None:
    with pytest.raises(SweepError, match=says) as error:
        promised(sweep(space, jobs=jobs))
    assert error.value.pointer == pointer


def test_conditions_may_make_a_huge_product_small() -> None:
    space: dict[str, Any] = {"/kind": list(range(20))} | {
        f"/x{i}": {"values": list(range(10)), "when": {"/kind": [i]}} for i in range(20)
    }
    assert promised(sweep(space)) == 200


def test_ten_thousand_at_once() -> None:
    space = {"/a": {"low": 0, "high": 1}, "/b": list(range(10)), "/c": list(range(10)), **MAX_LR}
    for sampler in ("grid", "random", "quasi_random"):
        spec = sweep(space, sampler, jobs=MOST_JOBS, constraints=["/a <= /schedule/max_lr"])
        gc.collect()
        gc.freeze()  # what other tests left behind is not looked through again meanwhile
        begun = time.process_time()
        found: list[Parameters] = expand(spec)
        spent = time.process_time() - begun
        gc.unfreeze()
        assert spent < 3  # half a second on a quiet machine
        assert len(found) == (MOST_JOBS if sampler != "grid" else pytest.approx(2600, rel=0.2))


def test_what_is_left_of_a_finite_sweep_can_be_proposed() -> None:
    spec = sweep({"/seed": [1, 2, 3, 4]})
    trials = [Trial(0, {"/seed": 2}, "running"), Trial(1, {"/seed": 1}, "done", 0.5)]
    assert [each.parameters["/seed"] for each in propose(spec, trials, 5)] == [3, 4]
    assert [each.parameters["/seed"] for each in propose(spec, trials, 1)] == [3]
