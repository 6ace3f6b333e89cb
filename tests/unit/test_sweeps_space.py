"""Spaces: where a field is, when it is varied, what must hold, and what a job is made of it."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from spec.spaces import Constraint, Dimension, Normal, Range
from sweeps.configurations import InvalidConfigurationError, digest, job_spec, placed
from sweeps.dimensions import at, share_of, spaced
from sweeps.proposing import expand
from sweeps.space import ABSENT, Space, SweepError, get, identity, merged, parts, pointer_to
from tests.sweeping import MAX_LR, TEMPLATE, spaces, sweep

DIMENSION: TypeAdapter[Dimension] = TypeAdapter(Dimension)
SGD = {"/optimizer/name": ["sgd"]}


@given(st.lists(st.text(min_size=1), min_size=1))
def test_a_pointer_names_any_keys(keys: list[str]) -> None:
    assert parts(pointer_to(*keys)) == tuple(keys)
    document = merged({}, {pointer_to(*keys): 1})
    assert get(document, tuple(keys)) == 1
    assert get(document, (*keys, "more")) is ABSENT


def test_a_parameter_goes_into_lists_and_makes_objects() -> None:
    before = json.dumps(TEMPLATE)
    job = merged(TEMPLATE, {"/model/params/hidden/1": 8, "/tags/a~1b": "x"})
    assert job["model"] == {"name": "mlp", "params": {"hidden": [16, 8]}}
    assert job["tags"] == {"a/b": "x"}
    assert json.dumps(TEMPLATE) == before


def test_jobs_of_a_sweep_may_train_together_unless_it_says_otherwise() -> None:
    assert job_spec(TEMPLATE, {}).population
    assert not job_spec({**TEMPLATE, "population": False}, {}).population
    assert not job_spec(TEMPLATE, {"/population": False}).population
    assert digest(job_spec(TEMPLATE, {})) == digest(job_spec(TEMPLATE, {"/population": True}))


@pytest.mark.parametrize("last", ["2", "-1", "01", "x"])
def test_a_list_has_no_other_items(last: str) -> None:
    with pytest.raises(InvalidConfigurationError, match="there is no") as error:
        job_spec(TEMPLATE, {f"/model/params/hidden/{last}": 1})
    assert error.value.errors[0]["loc"] == ("model", "params", "hidden", last)


def test_what_is_inside_goes_in_after_what_it_is_in() -> None:
    cosine = {"policy": "cosine", "lr": 0.1}
    for order in (1, -1):
        both = [("/schedule/lr", 0.3), ("/schedule", cosine)][::order]
        assert merged(TEMPLATE, dict(both))["schedule"] == {"policy": "cosine", "lr": 0.3}


def test_values_are_equal_as_json() -> None:
    assert identity({"a": [1, 2], "b": None}) == identity({"b": None, "a": [1.0, 2]})
    assert len({identity(each) for each in (1, True, "1", None, [1], [True])}) == 6


def test_conditions_chain_in_any_order() -> None:
    space = {
        "/optimizer/params/nesterov": {
            "values": [False, True],
            "when": {"/optimizer/params/momentum": [0.9]},
        },
        "/optimizer/params/momentum": {"values": [0, 0.9], "when": SGD},
        "/optimizer/name": ["adam", "sgd"],
    }
    found = expand(sweep(space))
    # the template's own momentum is 0.9: where it is not varied, that is what counts
    assert all(
        ("/optimizer/params/nesterov" in each)
        == (each.get("/optimizer/params/momentum", 0.9) == 0.9)
        for each in found
    )
    assert [list(each) for each in found][-1] == list(space)


def test_a_condition_sees_inside_of_what_is_chosen() -> None:
    cosine = {"policy": "cosine", "lr": 0.1}
    space = {
        "/schedule/max_lr": {"values": [0.2, 0.3], "when": {"/schedule/policy": ["triangular"]}},
        "/schedule": [cosine, TEMPLATE["schedule"]],
    }
    assert [each.get("/schedule/max_lr") for each in expand(sweep(space))] == [None, 0.2, 0.3]


def test_conditions_in_a_circle_are_refused() -> None:
    space = {
        "/a": {"values": [1], "when": {"/b": [1]}},
        "/b": {"values": [1], "when": {"/c": [1]}},
        "/c": {"values": [1], "when": {"/a": [1]}},
    }
    with pytest.raises(SweepError, match=r"depend on each other: /. <- /. <- /. <- /.") as error:
        Space.of(sweep(space))
    assert error.value.pointer in {"/space/~1a/when", "/space/~1b/when", "/space/~1c/when"}
    with pytest.raises(SweepError, match="depend on each other"):
        Space.of(sweep({"/a": {"values": [{"b": 1}], "when": {"/a/b": [1]}}}))


def test_a_condition_on_parts_of_a_whole_is_refused() -> None:
    space = {**MAX_LR, "/seed": {"values": [1, 2], "when": {"/schedule": [{}]}}}
    with pytest.raises(SweepError, match="name the part itself") as error:
        Space.of(sweep(space))
    assert error.value.pointer == "/space/~1seed/when/~1schedule"


@pytest.mark.parametrize(
    ("constraint", "left"),
    [
        ("/schedule/max_lr > /schedule/base_lr", [0.02, 0.1]),
        ("/schedule/max_lr >= 1e-1", [0.1]),
        ("/schedule/max_lr != .1", [0.001, 0.02]),
        ("/schedule/max_lr == 0.02", [0.02]),
        ("0.1 > /schedule/max_lr", [0.001, 0.02]),
        ("/schedule/no_such > 5", [0.001, 0.02, 0.1]),
        ("/optimizer/name == /model/name", []),
        ("/optimizer/name != /model/name", [0.001, 0.02, 0.1]),
    ],
)
def test_constraints_hold(constraint: str, left: list[float]) -> None:
    spec = sweep({"/schedule/max_lr": [0.001, 0.02, 0.1]}, constraints=[constraint])
    if left:
        assert [each["/schedule/max_lr"] for each in expand(spec)] == left
    else:
        with pytest.raises(SweepError, match="no combination"):
            expand(spec)


def test_what_is_not_known_yet_meets_a_constraint_and_what_is_no_number_does_not_compare() -> None:
    suggested = {"/schedule/base_lr": [{"range_test": "job_1"}, 1.0]}
    spec = sweep(suggested, constraints=["/schedule/base_lr < /schedule/max_lr"])
    assert expand(spec) == [{"/schedule/base_lr": {"range_test": "job_1"}}]
    with pytest.raises(SweepError, match="not a number") as error:
        expand(sweep({"/seed": [1]}, constraints=["/seed > 0", "/optimizer/name < 3"]))
    assert error.value.pointer == "/constraints/1"


@pytest.mark.parametrize(
    "text", ["/a>/b", "/a > ", "a > 1", "/a > 1 2", "/a > e", "/a > __import__", "/a > 1..2"]
)
def test_a_constraint_is_one_comparison(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Constraint).validate_python(text)


@pytest.mark.parametrize(
    ("dimension", "field"),
    [
        ({"low": 2, "high": 1}, "high"),
        ({"low": 0, "high": 1, "log": True}, "low"),
        ({"low": 0, "high": 1, "step": 0.1, "points": 3}, "points"),
        ({"low": 0.5, "high": 2, "integer": True}, "low"),
        ({"distribution": "normal", "mean": 0, "sd": 1, "low": 2, "high": 1}, "high"),
        ({"distribution": "normal", "mean": 0, "sd": 1, "low": 6}, "low"),
        ({"distribution": "lognormal", "mean": 0, "sd": 1, "high": 0}, "high"),
        ({"distribution": "lognormal", "mean": 0, "sd": 100}, "mean"),
    ],
)
def test_a_dimension_makes_sense(dimension: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as error:
        DIMENSION.validate_python(dimension)
    assert error.value.errors()[0]["ctx"]["field"] == field


def test_values_are_spaced() -> None:
    assert spaced(Range(low=1e-4, high=0.1, log=True), 4) == [1e-4, 1e-3, 1e-2, 0.1]
    assert spaced(Range(low=0, high=1), 5) == [0, 0.25, 0.5, 0.75, 1]
    assert spaced(Range(low=1, high=3, integer=True), 10) == [1, 2, 3]
    quartiles = spaced(Normal(distribution="normal", mean=0, sd=1), 2)
    assert quartiles == pytest.approx([-0.67449, 0.67449], abs=1e-5)
    assert expand(sweep({"/x": {"low": 0.1, "high": 0.35, "step": 0.1}})) == [
        {"/x": 0.1},
        {"/x": 0.2},
        {"/x": 0.3},
    ]


def test_whole_numbers_are_drawn_equally_often() -> None:
    dimension = Range(low=1, high=4, integer=True)
    drawn = [at(dimension, (i + 0.5) / 400) for i in range(400)]
    assert [drawn.count(n) for n in (1, 2, 3, 4)] == [100] * 4
    assert {type(each) for each in drawn} == {int}


@given(
    st.floats(0, 1),
    st.sampled_from(["normal", "lognormal"]),
    st.none() | st.floats(0.5, 4),
    st.none() | st.floats(4.5, 20),
    st.floats(0, 1),
)
def test_shares_of_a_distribution(
    share: float, kind: Any, low: float | None, high: float | None, mean: float
) -> None:
    dimension = Normal(distribution=kind, mean=mean, sd=1, low=low, high=high)
    value = at(dimension, share)
    assert isinstance(value, float)
    assert math.isfinite(value)
    assert low is None or value >= low
    assert high is None or value <= high
    assert share_of(dimension, value) == pytest.approx(share, abs=1e-6)


@given(spaces(), st.floats(0, 1))
def test_any_dimension_gives_json_within_its_bounds(space: dict[str, Any], share: float) -> None:
    for each in space.values():
        dimension = DIMENSION.validate_python(each)
        value = at(dimension, share)
        assert json.loads(json.dumps(value)) == value
        if isinstance(dimension, Range):
            assert isinstance(value, int | float)
            assert dimension.low <= value <= dimension.high


def test_a_job_is_made_or_what_is_wrong_is_said() -> None:
    spec = job_spec(TEMPLATE, {"/schedule/max_lr": 0.5, "/name": "x"})
    assert spec.name == "x"
    wrong = {"/schedule/max_lr": 0.001, "/batch_size": 1.5}
    with pytest.raises(InvalidConfigurationError, match="base_lr") as error:
        job_spec(TEMPLATE, wrong)
    assert error.value.parameters == wrong
    assert error.value.job["batch_size"] == 1.5
    assert {each["loc"][1] for each in error.value.errors} == {"schedule", "batch_size"}


def test_a_wrong_field_is_found_where_it_came_from() -> None:
    parameters: dict[str, Any] = {"/schedule": {}, "/schedule/max_lr": 1}
    assert placed("/schedule/max_lr", parameters) == "/space/~1schedule~1max_lr"
    assert placed("/schedule/base_lr", parameters) == "/space/~1schedule"
    assert placed("/batch_size", parameters) == "/template/batch_size"


def test_a_digest_is_of_what_is_computed() -> None:
    plain = digest(job_spec(TEMPLATE, {}))
    same: list[dict[str, Any]] = [
        {"/name": "x", "/tags/a": "b", "/priority": 3, "/queue": "fast"},
        {"/seed": 0, "/schedule/window": "triangular", "/optimizer/params/weight_decay": 0},
        {"/schedule/max_lr": 0.1, "/optimizer/params/momentum": 0.9},
    ]
    other: list[dict[str, Any]] = [{"/seed": 1}, {"/optimizer/params/momentum": 0.0}]
    assert {digest(job_spec(TEMPLATE, each)) for each in same} == {plain}
    assert len({plain, *(digest(job_spec(TEMPLATE, each)) for each in other)}) == 3
