"""Picking a setting after range tests of several."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules.analysis import analyse, lowest_loss
from sweeps.picking import Ramped, pick, together

ENDS: dict[str, Any] = {"range": {"start": 1e-5, "end": 10.0}}


def at_momentum(momentum: float, edge: float | None, *lowest: float, status: str = "ok") -> Ramped:
    suggestion = {"max_lr": edge / 4} if status == "ok" and edge else None
    result: Any = {
        "status": status,
        "landmarks": {"lr_edge": edge},
        "suggestion": suggestion,
        **ENDS,
    }
    return Ramped({"/optimizer/params/momentum": momentum}, result, lowest)


def momentum(test: Any) -> Any:
    return None if test is None else test.parameters["/optimizer/params/momentum"]


def test_the_lowest_loss_comes_first() -> None:
    found = pick(
        [at_momentum(0.8, 0.9, 0.30), at_momentum(0.9, 0.5, 0.21), at_momentum(0.99, 0.1, 0.35)]
    )
    assert [momentum(each) for each in found.settings] == [0.9, 0.8, 0.99]
    assert found.chosen == found.settings[0]
    assert found.chosen is not None
    assert (found.chosen.stable_lr, found.chosen.max_lr) == (0.5, 0.125)
    assert found.why == (
        "/optimizer/params/momentum = 0.9 falls lowest, to a loss of 0.21, and bears rates up to"
        " 0.5; next is /optimizer/params/momentum = 0.8 with a loss of 0.3 and rates up to 0.9"
    )


def test_among_losses_that_are_alike_the_highest_rate() -> None:
    found = pick(
        [at_momentum(0.8, 0.9, 0.212), at_momentum(0.9, 0.5, 0.21), at_momentum(0.99, 2.0, 0.35)]
    )
    assert momentum(found.chosen) == 0.8
    assert found.why.startswith(
        "/optimizer/params/momentum = 0.8 bears rates up to 0.9, the others among the 2 that fall"
        " lowest up to 0.5; their lowest losses, 0.21 to 0.212, are not told apart; next is"
    )


@pytest.mark.parametrize(("spread", "expected"), [(0.001, 0.9), (0.05, 0.8)])
def test_repeats_say_what_is_alike(spread: float, expected: float) -> None:
    around = (-spread, 0.0, spread)
    found = pick(
        [
            at_momentum(0.8, 0.9, *(0.25 + e for e in around)),
            at_momentum(0.9, 0.5, *(0.21 + e for e in around)),
        ]
    )
    assert momentum(found.chosen) == expected


def test_noise_lets_none_in_before_a_better_one() -> None:
    noisy, better = at_momentum(0.8, 0.9, -3.0, 1.0), at_momentum(0.9, 2.0, -2.0)
    found = pick([noisy, better, at_momentum(0.99, 0.1, -2.2)])
    assert momentum(found.chosen) == 0.99


def test_what_never_had_an_edge_is_open_ended() -> None:
    found = pick(
        [at_momentum(0.8, None, 0.2, status="no_edge_in_range"), at_momentum(0.9, 0.5, 0.2)]
    )
    assert momentum(found.chosen) == 0.8
    assert found.chosen is not None
    assert (found.chosen.stable_lr, found.chosen.open_ended) == (10, True)
    assert "up to 10, where its ramp ended" in found.why


def test_what_found_nothing_is_left_out_and_named() -> None:
    tests = [
        at_momentum(0.99, 3.0, 0.01, status="diverged_at_start"),
        Ramped({"/optimizer/params/momentum": 0.7}, None),
        at_momentum(0.9, 0.5, 0.2),
    ]
    found = pick(tests)
    assert found.why == (
        "/optimizer/params/momentum = 0.9 is the only one with a stable rate: it bears rates up to"
        " 0.5; without a stable rate: /optimizer/params/momentum = 0.99: diverged_at_start;"
        " /optimizer/params/momentum = 0.7: failed"
    )
    nothing = pick(tests[:2])
    assert nothing.chosen is None
    assert "0.99: diverged_at_start" in nothing.why
    assert pick([]).why.startswith("no range test has found a stable rate (none ran)")


def test_without_losses_the_rate_decides() -> None:
    found = pick([at_momentum(0.8, 0.4), at_momentum(0.9, 0.5)])
    assert momentum(found.chosen) == 0.9
    assert "not known" in found.why
    mixed = pick([at_momentum(0.8, 0.4, 0.3), at_momentum(0.9, 0.5), at_momentum(0.7, 0.1, 0.9)])
    assert momentum(mixed.chosen) == 0.8
    assert "not compared, for want of a loss: /optimizer/params/momentum = 0.9" in mixed.why


def test_it_reads_what_a_range_test_answers() -> None:
    """The loss of a momentum that is too high comes back earlier, and from less far down."""
    lr = np.geomspace(1e-5, 10, 300)

    def ramp(factor: float, floor: float) -> Ramped:
        noise = np.random.default_rng(0).normal(size=(3, 300)) * 0.005
        losses = [floor + 2 / (1 + (lr / 0.01) ** 2) + (lr / factor) ** 4 + each for each in noise]
        result: Any = analyse(lr, losses, family="sgd", loss="probe").result() | {
            "range": {"end": 10.0}
        }
        lowest = tuple(low for y in losses if (low := lowest_loss(y, 300)) is not None)
        assert np.allclose(lowest, floor, atol=0.05)
        return Ramped({"/optimizer/params/momentum": factor}, result, lowest)

    found = pick([ramp(0.5, 0.4), ramp(2.0, 0.3), ramp(1.0, 0.3)])
    assert momentum(found.chosen) == 2.0
    assert found.chosen is not None
    assert found.chosen.stable_lr == pytest.approx(1.7, rel=0.1)


def test_how_low_a_loss_came() -> None:
    loss = np.concatenate([np.linspace(2, 1, 100), np.linspace(1, 5, 50), [np.inf] * 9, [0.0]])
    loss[20] = -7  # noise
    assert lowest_loss(loss, 300) == pytest.approx(1, abs=0.05)
    assert lowest_loss([np.nan, 1.0], 300) is None
    assert lowest_loss([], 300) is None


@given(
    st.lists(
        st.builds(
            lambda edge, low, status: at_momentum(0.9, edge, *low, status=status),
            st.floats(1e-6, 10), st.lists(st.floats(-1e3, 1e3), max_size=3),
            st.sampled_from(["ok", "no_edge_in_range", "too_noisy"]),
        ),
        max_size=6,
    )
)  # fmt: skip
def test_the_picked_one_is_stable_and_none_is_better_at_both(tests: list[Ramped]) -> None:
    found = pick(tests)
    assert len(found.settings) == len(tests)
    assert found.why
    if found.chosen is None:
        assert all(each.stable_lr is None for each in found.settings)
        return
    low, rate = found.chosen.lowest, found.chosen.stable_lr
    assert rate is not None
    for each in found.settings:
        if low is not None and each.lowest is not None and each.stable_lr is not None:
            assert not (each.lowest < low and each.stable_lr > rate)


def test_seeds_of_a_setting_are_its_repeats() -> None:
    seeds = [at_momentum(0.9, edge, low) for edge, low in ((0.5, 0.2), (0.1, 0.4), (0.3, 0.3))]
    one = together(seeds)
    assert (one.lowest, one.result) == ((0.2, 0.4, 0.3), seeds[2].result)
    failed = Ramped(seeds[0].parameters, None)
    assert together([failed, seeds[0], failed]).result is None
    assert together([failed, seeds[0], seeds[1]]).result == seeds[1].result
    with pytest.raises(ValueError, match="at least one"):
        together([])
