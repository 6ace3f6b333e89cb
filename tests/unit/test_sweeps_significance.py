"""Tests of paired differences, compared with scipy's."""

import doctest
import tracemalloc
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from sweeps import significance
from sweeps.significance import EXACT, flipped, holm, incomplete_beta, quantile, two_sided

DIFFERENCES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=8)


def test_the_documentation_runs() -> None:
    assert doctest.testmod(significance).failed == 0


@pytest.mark.parametrize("df", [1, 2, 3, 4, 9, 30, 100, 9999, 1e5])
@pytest.mark.parametrize("t", [0.0, 1e-12, 1e-3, 0.5, 1.0, 2.0, -2.7, 8.0, 100.0, 1e4, 1e9, 1e200])
def test_the_tails_of_t(t: float, df: float) -> None:
    expected = 2 * float(stats.t.sf(abs(t), df))
    assert two_sided(t, df) == pytest.approx(expected, abs=1e-11, rel=1e-9)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("df", [1, 2, 4, 30, 5000])
def test_quantiles_of_t(level: float, df: int) -> None:
    assert quantile(level, df) == pytest.approx(float(stats.t.isf((1 - level) / 2, df)), rel=1e-9)


@pytest.mark.parametrize("a", [0.5, 1, 3, 40, 5000])
@pytest.mark.parametrize("b", [0.5, 1, 7, 60, 4999])
def test_the_incomplete_beta_function(a: float, b: float) -> None:
    for x in (0.0, 1e-9, 0.01, 0.2, 0.5, 0.7, 0.99, 1.0):
        assert incomplete_beta(a, b, x) == pytest.approx(float(special.betainc(a, b, x)), abs=1e-9)


@settings(max_examples=50)
@given(DIFFERENCES)
def test_all_flips_of_few_differences(differences: list[float]) -> None:
    observed = abs(sum(differences))
    slack = 1e-12 * sum(map(abs, differences))
    sums = [
        sum(sign * each for sign, each in zip(signs, differences, strict=True))
        for signs in product((1, -1), repeat=len(differences))
    ]
    expected = sum(abs(each) >= observed - slack for each in sums) / len(sums)
    assert flipped(differences) == pytest.approx(expected, abs=0.01)
    assert flipped(differences) >= 2 / 2 ** len(differences)
    assert flipped(differences) == flipped([-each for each in differences])


def test_flips_as_scipy_counts_them() -> None:
    differences = [0.31, -0.12, 0.4, 0.27, 0.05, 0.6]
    expected = stats.permutation_test(
        (differences,), lambda d, axis: d.sum(axis=axis), permutation_type="samples",
        vectorized=True, n_resamples=float("inf"),
    ).pvalue  # fmt: skip
    assert flipped(differences) == pytest.approx(float(expected))


def test_many_differences_are_flipped_at_random_the_same_each_time() -> None:
    n = EXACT + 6
    assert flipped([1.0] * n) == flipped([1.0] * n) < 0.001
    assert flipped([1.0] * n) > 0
    mixed = [(-1.0) ** i * (1 + i / n) for i in range(n)]
    t = stats.ttest_1samp(mixed, 0).pvalue
    assert flipped(mixed) == pytest.approx(float(t), abs=0.03)


def test_thousands_of_differences_take_little_memory() -> None:
    tracemalloc.start()
    try:
        assert flipped([1.0, -0.5] * 2500) < 0.001
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_no_difference_is_no_difference() -> None:
    assert flipped([]) == flipped([0.0, 0.0]) == flipped([1.0, -1.0]) == 1.0


@given(st.lists(st.floats(0, 1), max_size=10))
def test_holm_only_raises_and_keeps_the_order(p: list[float]) -> None:
    corrected = holm(p)
    assert all(a <= b <= min(1, a * len(p)) or a == b for a, b in zip(p, corrected, strict=True))
    order = sorted(range(len(p)), key=lambda i: p[i])
    assert [corrected[i] for i in order] == sorted(corrected)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
