"""A ramp goes on as it began, and no further than rates may be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules.ramp import Ramp
from schedules.values import MAX_RATE

KINDS = ("exponential", "linear")


@pytest.mark.parametrize("kind", KINDS)
def test_a_ramp_that_is_not_extended_has_its_own_rates(kind: str) -> None:
    ramp = Ramp(start=1e-4, end=1.0, iterations=60, ramp=kind)
    assert ramp.rates().tobytes() == ramp.lr_at(np.arange(60.0)).tobytes()


def test_an_exponential_ramp_goes_on_at_its_ratio_to_ten_times_its_end() -> None:
    ramp = Ramp(start=1e-4, end=1.0, iterations=41)
    rates = ramp.rates(extended=2)
    assert rates.size == 61
    np.testing.assert_allclose(rates[1:] / rates[:-1], 10**0.1)
    assert rates[[40, 50, 60]] == pytest.approx([1, 10, 100])


def test_a_linear_ramp_goes_on_in_as_many_iterations_again() -> None:
    rates = Ramp(start=0.5, end=1.0, iterations=5, ramp="linear").rates(extended=2)
    assert rates[:5].tolist() == [0.5, 0.625, 0.75, 0.875, 1.0]
    assert rates[5:] == pytest.approx([2.8, 4.6, 6.4, 8.2, 10, 28, 46, 64, 82, 100])


def test_a_short_ramp_takes_no_more_iterations_than_it_has() -> None:
    rates = Ramp(start=1.0, end=2.0, iterations=11).rates(extended=1)
    assert rates.size == 22
    assert rates[-1] == pytest.approx(2**2.1)


@pytest.mark.parametrize("kind", KINDS)
def test_no_rate_is_beyond_the_highest(kind: str) -> None:
    near = Ramp(start=1.0, end=MAX_RATE / 3, iterations=50, ramp=kind)
    assert near.rates(extended=1)[-1] == pytest.approx(MAX_RATE, rel=0.3)
    for extended in (1, 2):
        assert near.rates(extended=extended)[-1] <= MAX_RATE * (1 + 1e-9)
    there = Ramp(start=1.0, end=MAX_RATE, iterations=50, ramp=kind)
    assert there.rates(extended=2).size == 50


@given(
    st.floats(1e-9, 1e5),
    st.floats(1.001, 1e12),
    st.integers(2, 400),
    st.sampled_from(KINDS),
)
def test_extensions_keep_what_there_was_to_the_last_bit(
    start: float, factor: float, n: int, kind: str
) -> None:
    ramp = Ramp(start=start, end=min(start * factor, MAX_RATE), iterations=n, ramp=kind)
    plain, once, twice = (ramp.rates(extended=extended) for extended in range(3))
    assert once[:n].tobytes() == plain.tobytes()
    assert twice[: once.size].tobytes() == once.tobytes()
    assert n <= once.size <= 2 * n
    assert (np.diff(twice) > 0).all()
    assert twice[-1] <= MAX_RATE * (1 + 1e-9)
