"""Samplers: what they draw is new, allowed, reproducible, and better than by chance."""

import json
from statistics import median
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import qmc

from spec.sweeps import Objective, SweepSpec
from sweeps.halton import halton
from sweeps.proposing import expand, promised, propose
from sweeps.space import Parameters, Space, SweepError, identity
from sweeps.trials import Trial, ranked
from tests.sweeping import MAX_LR, ran, spaces, sweep

DRAWN = ["random", "quasi_random"]
LEARN = ["tpe", "cma_es"]
SQUARE = {"/x": {"low": -5, "high": 5}, "/y": {"low": 1e-4, "high": 1, "log": True}}


def bowl(parameters: Parameters) -> float:
    """Smallest, 0, at x = 2 and y = 0.01."""
    x, y = parameters["/x"], parameters["/y"]
    assert isinstance(x, float)
    assert isinstance(y, float)
    return (x - 2) ** 2 + (np.log10(y) + 2) ** 2


def allowed(spec: SweepSpec, parameters: Parameters) -> bool:
    """Whether exactly the fields are there that should be, and the constraints hold."""
    space = Space.of(spec)
    fields = {p for p in space.order if space.varies(p, parameters)}
    return fields == parameters.keys() and space.holds(parameters)


@settings(max_examples=60, deadline=None)
@given(spaces(), st.sampled_from(DRAWN), st.integers(0, 3), st.integers(1, 20))
def test_draws(space: dict[str, Any], sampler: str, seed: int, jobs: int) -> None:
    spec = sweep(space, {"name": sampler, "seed": seed}, jobs=jobs)
    found = expand(spec)
    assert promised(spec) == len(found) <= jobs
    assert len({identity(each) for each in found}) == len(found)
    assert all(allowed(spec, each) for each in found)
    assert json.loads(json.dumps(found)) == found == expand(spec)


@settings(max_examples=25, deadline=None)
@given(spaces(), st.sampled_from(LEARN), st.integers(1, 4), st.data())
def test_proposals(space: dict[str, Any], sampler: str, at_once: int, data: st.DataObject) -> None:
    spec = sweep(space, {"name": sampler, "startup": 2}, jobs=10)
    trials: list[Trial] = []
    try:
        promised(spec)
    except SweepError as error:
        assert "needs a range" in error.detail  # noqa: PT017 - only some spaces are refused
        return
    while proposals := propose(spec, trials, at_once):
        assert len(proposals) <= at_once
        assert proposals == propose(spec, trials, at_once)
        told = [json.loads(json.dumps([each.parameters, each.memory])) for each in proposals]
        assert told == [[each.parameters, each.memory] for each in proposals]
        for parameters, memory in told:
            assert allowed(spec, parameters)
            state = data.draw(st.sampled_from(["done", "failed", "stopped", "running"]))
            value = data.draw(st.none() | st.floats(-1, 1)) if state != "running" else None
            trials.append(Trial(len(trials), parameters, state, value, memory))
    assert len({identity(each.parameters) for each in trials}) == len(trials) <= 10


@pytest.mark.parametrize("sampler", [*DRAWN, *LEARN])
def test_small_spaces_are_exhausted(sampler: str) -> None:
    space = {"/a": {"low": 1, "high": 3, "integer": True}, "/b": ["x", "y"]}
    spec = sweep(space, sampler, jobs=40, constraints=["/a != 2"])
    found = expand(spec) if sampler in DRAWN else [t.parameters for t in ran(spec, lambda _: 1.0)]
    assert sorted(tuple(each.values()) for each in found) == [
        (1, "x"),
        (1, "y"),
        (3, "x"),
        (3, "y"),
    ]


@pytest.mark.parametrize("sampler", [*DRAWN, *LEARN])
def test_seeds_matter(sampler: str) -> None:
    def some(seed: int) -> list[Parameters]:
        spec = sweep(SQUARE, {"name": sampler, "seed": seed}, jobs=4)
        return [each.parameters for each in propose(spec, [], 4)]

    assert some(1) == some(1) != some(2)


@pytest.mark.parametrize("sampler", [*DRAWN, *LEARN])
def test_what_cannot_be_drawn_is_said(sampler: str) -> None:
    with pytest.raises(SweepError, match="how many jobs"):
        promised(sweep(SQUARE, sampler))
    with pytest.raises(SweepError, match="meets all"):
        promised(sweep(SQUARE, sampler, jobs=5, constraints=["/x > 6"]))


def test_halton_by_hand() -> None:
    """Scrambled, each piece of length 1/b^k still has its share of the points."""
    points = halton(2 * 3 * 5 * 7 * 4, 4, seed=3)
    for coordinate, base in zip(points.T, (2, 3, 5, 7), strict=True):
        assert (np.histogram(coordinate, base, (0, 1))[0] == len(points) / base).all()
    assert (halton(10, 4, seed=3, start=5) == points[5:15]).all()
    assert points.min() >= 0
    assert points.max() < 1


def test_quasi_random_leaves_smaller_gaps_than_random() -> None:
    for seed in range(5):
        even = qmc.discrepancy(halton(256, 6, seed=seed))
        chance = qmc.discrepancy(np.random.default_rng(seed).random((256, 6)))
        assert even < chance / 3
    found = expand(sweep(SQUARE, "quasi_random", jobs=32))
    xs = [each["/x"] for each in found]
    assert all(np.histogram(np.array(xs, dtype=float), 16, (-5, 5))[0] == 2)


@pytest.mark.parametrize("sampler", LEARN)
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_what_learns_beats_chance(sampler: str, direction: str) -> None:
    sign = 1 if direction == "minimize" else -1

    def best(name: str, seed: int) -> float:
        objective = {"direction": direction}
        spec = sweep(SQUARE, {"name": name, "seed": seed}, jobs=60, objective=objective)
        if name == "random":
            return min(bowl(each) for each in expand(spec))
        return min(sign * (t.value or 0.0) for t in ran(spec, lambda p: sign * bowl(p), at_once=3))

    seeds = range(7)
    chance = median(best("random", seed) for seed in seeds)
    assert median(best(sampler, seed) for seed in seeds) < chance / 3


@pytest.mark.parametrize("sampler", LEARN)
def test_asking_one_by_one_or_many_at_once_is_the_same(sampler: str) -> None:
    spec = sweep(SQUARE, {"name": sampler, "startup": 3}, jobs=60)
    trials = ran(spec, bowl, at_once=3)[:24]
    together = propose(spec, trials, 6)
    waiting = list(trials)
    for each in together:
        assert propose(spec, waiting, 1) == [each]
        waiting.append(Trial(len(waiting), each.parameters, "waiting", None, each.memory))


@pytest.mark.parametrize("sampler", LEARN)
def test_proposals_while_trials_run_are_others(sampler: str) -> None:
    spec = sweep(SQUARE, {"name": sampler, "startup": 3}, jobs=60)
    trials = ran(spec, bowl)[:20]
    running = [
        Trial(20 + i, each.parameters, "running", None, each.memory)
        for i, each in enumerate(propose(spec, trials, 5))
    ]
    more = propose(spec, trials + running, 5)
    everything = [*(t.parameters for t in running), *(each.parameters for each in more)]
    assert len({identity(each) for each in everything}) == 10


def test_tpe_keeps_away_from_what_diverges() -> None:
    def value(parameters: Parameters) -> float | None:
        x = parameters["/x"]
        assert isinstance(x, float)
        return None if x > 0 else 1.0 + x / 100

    spec = sweep({"/x": SQUARE["/x"]}, "tpe", jobs=50)
    found = [t.value for t in ran(spec, value)]
    assert found[:10].count(None) >= 3
    assert found[-20:].count(None) <= 6


def test_tpe_learns_what_is_not_always_varied() -> None:
    space = {
        "/kind": ["a", "b"],
        "/x": {"low": -5, "high": 5, "when": {"/kind": ["a"]}},
        "/z": {"low": -5, "high": 5, "when": {"/kind": ["b"]}},
    }

    def value(parameters: Parameters) -> float:
        x = parameters.get("/x")
        return (x - 2) ** 2 if isinstance(x, float) else 10.0

    best = []
    for seed in range(5):
        trials = ran(sweep(space, {"name": "tpe", "seed": seed}, jobs=50), value)
        assert sum(t.parameters["/kind"] == "a" for t in trials[-20:]) >= 12
        best.append(min(t.value or 0.0 for t in trials))
    assert median(best) < 0.02


def test_cma_es_remembers_its_generations_as_numbers() -> None:
    trials = ran(sweep(SQUARE, "cma_es", jobs=40), bowl)
    generations = [each.memory.get("generation") for each in trials]
    assert generations == [None, *(i // 6 for i in range(39))]
    assert trials[13].memory["told"] == [7, 8, 9, 10, 11, 12]
    at_once = sweep(SQUARE, "cma_es", budget={"jobs": 40, "parallel": 13})
    generations = [each.memory.get("generation") for each in ran(at_once, bowl, at_once=13)]
    assert generations == [None] * 13 + [0] * 13 + [1] * 13 + [2]


def test_a_late_trial_does_not_change_what_a_generation_was_made_of() -> None:
    spec = sweep(SQUARE, "cma_es", jobs=60)
    trials = ran(spec, bowl)[:1]
    for each in propose(spec, trials, 9):  # three more than a generation
        trials.append(Trial(len(trials), each.parameters, "running", None, each.memory))
    late, ended = trials[2], {t.number for t in trials} - {2, 3, 4}
    trials = [
        Trial(t.number, t.parameters, "done", bowl(t.parameters), t.memory)
        if t.number in ended
        else t
        for t in trials
    ]
    (following,) = propose(spec, trials, 1)
    assert following.memory["told"] == [1, 5, 6, 7, 8, 9]
    trials.append(Trial(10, following.parameters, "running", None, following.memory))
    before = propose(spec, trials, 2)
    trials[2] = Trial(2, late.parameters, "done", -1.0, late.memory)
    assert propose(spec, trials, 2) == before


def test_cma_es_draws_the_fields_that_it_cannot_adapt() -> None:
    space = {
        **SQUARE,
        "/kind": ["a", "b"],
        "/z": {**MAX_LR["/schedule/max_lr"], "when": {"/kind": ["a"]}},
    }
    trials = ran(sweep(space, "cma_es", jobs=60), bowl, at_once=4)
    assert {t.parameters["/kind"] for t in trials[-20:]} == {"a", "b"}
    assert min(t.value or 0.0 for t in trials) < 0.1
    with pytest.raises(SweepError, match="use the sampler tpe"):
        promised(sweep({"/seed": [1, 2]}, "cma_es", jobs=5))


def test_ranks() -> None:
    trials = [
        Trial(0, {}, "failed", 0.1),
        Trial(1, {}, "done", float("nan")),
        Trial(2, {}, "stopped", 0.2),
        Trial(3, {}, "done", 0.5),
        Trial(4, {}, "running", 0.0),
        Trial(5, {}, "done", 0.4),
        Trial(6, {}, "stopped", 0.1, reached=80),
        Trial(7, {}, "stopped", 0.3, reached=240),
        Trial(8, {}, "stopped", 0.2, reached=240),
    ]
    assert [t.number for t in ranked(trials, Objective())] == [5, 3, 8, 7, 6, 2, 0, 1]
    assert [t.number for t in ranked(trials, Objective(direction="maximize"))][:2] == [3, 5]
