"""Reduce on plateau: its rule against written-out looks, and against torch's."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.optim.lr_scheduler import ReduceLROnPlateau

from schedules import Plateau


def ours(metrics: list[float], **fields: Any) -> list[float]:
    """The rate after each look."""
    schedule = Plateau(**{"lr": 1.0, **fields})
    state = schedule.begin()
    rates = []
    for metric in metrics:
        state = schedule.after(state, metric)
        rates.append(state.lr)
    return rates


def theirs(metrics: list[float], *, lr: float = 1.0, **fields: Any) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    mode = "max" if fields.pop("metric", "val_loss") == "val_accuracy" else "min"
    scheduler = ReduceLROnPlateau(optimizer, mode=mode, **fields)
    rates = []
    for metric in metrics:
        scheduler.step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def test_more_looks_than_patience_without_improvement() -> None:
    metrics = [3, 2, 2, 2, 2, 1, 1, 1, 1]
    assert ours(metrics, patience=2, factor=0.5) == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]
    assert ours([2, 2, 2], patience=0) == pytest.approx([1, 0.1, 0.01])


def test_looks_in_a_cooldown_do_not_count() -> None:
    found = ours([1] * 9, patience=1, factor=0.5, cooldown=2)
    assert found == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_the_lowest_rate() -> None:
    assert ours([1] * 5, patience=0, factor=0.5, min_lr=0.3) == [1, 0.5, 0.3, 0.3, 0.3]


def test_an_improvement_is_relative_to_the_size_of_the_best() -> None:
    def improves(best: float, then: float, **fields: Any) -> bool:
        return ours([best, then], patience=0, threshold=0.1, **fields)[-1] == 1

    assert improves(10, 8.9)
    assert not improves(10, 9.1)
    assert improves(-10, -11.1)
    assert not improves(-10, -10.9)
    assert improves(0, -1e-9)
    assert improves(0.5, 0.56, metric="val_accuracy")
    assert not improves(0.5, 0.54, metric="val_accuracy")
    assert improves(-10, -8.9, metric="val_accuracy")


def test_what_is_not_finite_never_improves() -> None:
    assert ours([math.nan, 1, math.nan, 1], patience=0) == pytest.approx([0.1, 0.1, 0.01, 0.001])
    assert ours([-math.inf, 1, math.inf], patience=0) == pytest.approx([0.1, 0.1, 0.01])


def test_a_state_is_a_value() -> None:
    schedule = Plateau(lr=1.0, patience=1)
    state = schedule.begin()
    later = schedule.after(schedule.after(state, 1.0), 2.0)
    assert (state.lr, state.best, state.bad) == (1.0, None, 0)
    assert (later.best, later.bad) == (1.0, 1)
    assert schedule.after(later, 2.0) == schedule.after(later, 2.0)


LOOKS = st.lists(
    st.floats(1e-3, 1e3) | st.sampled_from([1.0, 0.9999, 1.0001, math.nan]), max_size=60
)


FIELDS = st.fixed_dictionaries(
    {
        "patience": st.integers(0, 4),
        "cooldown": st.integers(0, 3),
        "factor": st.sampled_from([0.1, 0.5]),
        "threshold": st.sampled_from([0.0, 1e-4, 0.1]),
        "metric": st.sampled_from(["val_loss", "val_accuracy"]),
        "min_lr": st.just(1e-3),
    }
)


@settings(deadline=None)  # torch takes its time over the first optimizer
@given(LOOKS, FIELDS)
def test_torch_reduces_at_the_same_looks(metrics: list[float], fields: dict[str, Any]) -> None:
    """Of positive metrics, as long as the rate is not tiny; sums are rounded otherwise."""
    edges = [abs(a / b - 1) for a in metrics for b in metrics if a != b]
    if any(abs(edge - fields["threshold"]) < 1e-12 for edge in edges):
        return
    assert ours(metrics, **fields) == pytest.approx(theirs(metrics, **fields), rel=1e-12)


def test_torch_takes_any_negative_metric_for_an_improvement() -> None:
    """best * (1 - threshold) is above a negative best: it does not see that nothing improves."""
    rising = [-10 + 1e-5 * i for i in range(50)]
    assert theirs(rising, patience=3)[-1] == 1
    assert ours(rising, patience=3)[-1] < 1e-9


def test_torch_never_reduces_a_tiny_rate() -> None:
    assert theirs([1.0] * 9, lr=1e-8, patience=0)[-1] == 1e-8
    assert ours([1.0] * 3, lr=1e-8, patience=0)[-1] == pytest.approx(1e-10)


@pytest.mark.parametrize(
    "wrong",
    [
        {"factor": 1.0},
        {"factor": 0.0},
        {"patience": -1},
        {"metric": "loss"},
        {"min_lr": 2.0},
        {"threshold": -0.1},
    ],
)
def test_what_makes_no_rule_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Plateau(**{"lr": 1.0, **wrong})
