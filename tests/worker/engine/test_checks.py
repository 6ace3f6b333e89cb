"""Second opinions leave the range test alone, and say where the ramp left what they allow."""

import math
from typing import Any

import numpy as np
import pytest

from tests.worker.engine.conftest import Record
from worker.engine.checks import Measured

CHECKS = ["curvature", "line_search"]
MOMENTUM = {"name": "sgd", "params": {"momentum": 0.9}}
NESTEROV = {"name": "sgd", "params": {"momentum": 0.9, "nesterov": True}}
LENET = {"name": "lenet", "params": {"channels": [4, 8], "hidden": 32}}
RESNET = {"name": "resnet", "params": {"depth": 8, "width": 2}}
DROPOUT = {"name": "mlp", "params": {"hidden": [32], "dropout": 0.2}}


@pytest.mark.parametrize("model", [LENET, RESNET, DROPOUT])
@pytest.mark.parametrize("optimizer", [MOMENTUM, {"name": "adam"}, {"name": "rmsprop"}])
def test_series_are_the_same_to_the_bit_with_and_without(
    range_test: Record, model: dict[str, Any], optimizer: dict[str, Any]
) -> None:
    job = {"model": model, "optimizer": optimizer, "record": ["accuracy", "grad_norm"]}
    plain, checked = range_test(**job), range_test(**job, checks=CHECKS)
    for repeat in range(2):
        for name in ("loss", "lr", "accuracy", "grad_norm"):
            ours, theirs = (run.column(name, repeat=repeat) for run in (plain, checked))
            assert ours.tobytes() == theirs.tobytes()
    for name in ("status", "suggestion", "landmarks", "range", "iterations"):
        assert plain.result[name] == checked.result[name]


def test_both_bounds_are_near_the_edge(range_test: Record) -> None:
    ours = range_test(
        range={"start": 1e-6, "end": 10.0, "iterations": 250}, checks=CHECKS, repeats=3
    )
    assert list(ours.result["checks"]) == CHECKS
    edge = ours.result["landmarks"]["lr_edge"]
    for check in CHECKS:
        found = ours.result["checks"][check]
        assert len(found["at"]) == len(found["allowed"]) < 20
        assert set(found["at"]) <= set(ours.column("lr").tolist())
        assert abs(math.log10(found["lr"] / edge)) < 0.7
    bounds = [edge, *(ours.result["checks"][check]["lr"] for check in CHECKS)]
    spread = np.ptp(np.log10(bounds))
    expected = "high" if spread < 0.3 else "medium" if spread < 0.6 else "low"
    assert ours.result["agreement"] == expected


@pytest.mark.parametrize("optimizer", [NESTEROV, {"name": "adam"}])
def test_the_curvature_knows_of_momentum_and_of_adam(
    range_test: Record, optimizer: dict[str, Any]
) -> None:
    ours = range_test(
        range={"start": 1e-6, "end": 10.0, "iterations": 250},
        model={"name": "mlp", "params": {"hidden": [64]}},
        optimizer=optimizer,
        checks=["curvature"],
        repeats=3,
    )
    bound, edge = ours.result["checks"]["curvature"]["lr"], ours.result["landmarks"]["lr_edge"]
    assert abs(math.log10(bound / edge)) < 0.5


def test_one_check_alone(range_test: Record) -> None:
    ours = range_test(checks=["line_search"])
    assert list(ours.result["checks"]) == ["line_search"]
    assert ours.result["agreement"] in {"high", "medium", "low"}


def test_an_optimizer_without_a_known_limit_has_no_bound(range_test: Record) -> None:
    ours = range_test(optimizer={"name": "rmsprop"}, checks=["curvature"])
    assert ours.result["checks"] == {"curvature": {"lr": None, "at": [], "allowed": []}}
    assert ours.result["agreement"] is None


@pytest.mark.parametrize("ramp", ["exponential", "linear"])
def test_checks_go_on_up_a_ramp_that_is_extended(range_test: Record, ramp: str) -> None:
    short = {"start": 1e-3, "end": 0.1, "iterations": 60, "ramp": ramp}
    ours = range_test(range=short, checks=CHECKS)
    assert ours.result["range"]["extended"] > 0
    assert ours.result["checks"]["curvature"]["at"][-1] > 0.1


def measured(margin: float, *points: tuple[float, float]) -> Measured:
    rates, allowed = zip(*points, strict=True) if points else ((), ())
    return Measured("curvature", margin, list(rates), list(allowed))


@pytest.mark.parametrize("margin", [0.8, 1.0, 2.0])
def test_a_check_bounds_where_the_ramp_is_first_beyond(margin: float) -> None:
    below, beyond = (0.1, 1 / margin), (1.0, 0.1 / margin)  # ten times each
    found = measured(margin, (0.01, 1.0), below, beyond, (2.0, 9.0))
    assert found.bound() == pytest.approx(10**-0.5)
    assert measured(margin, (0.01, 1.0), below).bound() is None
    assert measured(margin, (0.01, 0.0)).bound() == 0.01
    assert measured(margin).bound() is None


def test_what_is_infinite_is_shown_as_null() -> None:
    found = measured(1.0, (0.1, math.inf), (0.2, 1.0))
    assert found.result() == {"lr": None, "at": [0.1, 0.2], "allowed": [None, 1.0]}
