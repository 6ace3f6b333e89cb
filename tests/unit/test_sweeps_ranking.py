"""Rankings: groups over seeds, their comparison with the best, and what is said of it."""

import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sweeps.ranking import Ranked, Row, rank

VALUES = st.none() | st.floats() | st.sampled_from([0.0, 1.0, -1.0])


def over_seeds(lr: Any, values: list[float | None], first: int = 0) -> list[Row]:
    return [Row({"/lr": lr, "/seed": first + i}, v) for i, v in enumerate(values)]


def lrs(found: list[Ranked]) -> list[Any]:
    return [each.parameters["/lr"] for each in found]


def test_paired_over_common_seeds() -> None:
    noise = np.random.default_rng(0).normal(size=(2, 5)) * 0.003
    luck = np.array([0.0, 0.1, 0.2, 0.3, 0.4])  # of the seed, which both share
    a, b = 0.30 + luck + noise[0], 0.31 + luck + noise[1]
    rows = over_seeds(0.1, a.tolist()) + over_seeds(0.2, [*b.tolist(), 9.0])
    best, other = rank(rows, "minimize")
    against = other.against_best
    assert best.against_best is None
    assert against is not None
    assert against.pairs == 5
    assert best.mean == pytest.approx(a.mean())
    assert best.sd == pytest.approx(a.std(ddof=1))
    t = stats.ttest_rel(b, a)
    assert against.p_t == pytest.approx(t.pvalue, rel=1e-9) == against.p
    assert against.interval == pytest.approx(tuple(t.confidence_interval(0.95)))
    assert against.p_flip == 2 / 32
    assert against.difference == pytest.approx((b - a).mean())
    assert against.told_apart
    assert stats.ttest_ind(b, a).pvalue > 0.9  # unpaired, the seeds would hide it


def test_verdicts_are_sentences_with_numbers() -> None:
    good, bad = [0.50, 0.51, 0.49, 0.50, 0.52], [0.54, 0.56, 0.53, 0.55, 0.55]
    found = rank(over_seeds(0.1, good) + over_seeds(1, bad), "minimize")
    assert found[0].verdict == "better than /lr = 1 by 0.042 (8.3 %), p < 0.001 over 5 seeds"
    assert found[1].verdict == "worse than the best by 0.042 (8.3 %), p < 0.001 over 5 seeds"
    near = [0.49, 0.53, 0.51, 0.48, 0.52]
    found = rank(over_seeds(0.1, good) + over_seeds(1, near), "maximize")
    assert lrs(found) == [1, 0.1]
    assert found[1].verdict == (
        "not told apart: worse than the best by 0.002 (0.4 %), p = 0.81 over 5 seeds"
    )
    assert round(stats.ttest_rel(near, good).pvalue, 2) == 0.81


def test_several_comparisons_are_corrected() -> None:
    rng = np.random.default_rng(1)
    rows = [row for lr in range(8) for row in over_seeds(lr, rng.normal(size=4).tolist())]
    compared = [each.against_best for each in rank(rows, "maximize")[1:]]
    raw = sorted(each.p_t for each in compared if each and each.p_t is not None)
    corrected = sorted(each.p for each in compared if each and each.p is not None)
    assert len(raw) == 7
    assert corrected[0] == min(1, 7 * raw[0])
    assert all(a <= b for a, b in zip(raw, corrected, strict=True))


def test_one_seed_proves_nothing() -> None:
    found = rank([Row({"/lr": 1}, 0.5), Row({"/lr": 2}, 0.4)], "minimize")
    assert lrs(found) == [2, 1]
    against = found[1].against_best
    assert against is not None
    assert (against.p, against.interval, against.told_apart) == (None, None, False)
    assert found[0].sd is None
    assert found[0].verdict == (
        "better than /lr = 1 by 0.1 (25 %), but over 1 seed only: chance may explain it"
    )


def test_no_seed_in_common() -> None:
    found = rank(over_seeds(1, [0.1, 0.2]) + over_seeds(2, [0.3, 0.4], first=7), "minimize")
    assert (
        found[1].verdict == "worse than the best by its mean, but not compared: no seed in common"
    )


def test_those_that_diverged_come_after_those_that_did_not() -> None:
    rows = (
        over_seeds(1, [0.1, None, 0.1])
        + over_seeds(2, [0.5, 0.6])
        + over_seeds(3, [None, math.nan])
    )
    found = rank(rows, "minimize")
    assert lrs(found) == [2, 1, 3]
    assert [each.diverged for each in found] == [0, 1, 2]
    assert found[1].verdict.startswith("better than the best by 0.4")
    assert found[1].verdict.endswith("; diverged on 1 of 3 seeds")
    assert found[2].verdict == "diverged on 2 seeds"
    assert found[2].mean is None
    (only,) = rank(over_seeds(3, [None]), "minimize")
    assert only.verdict == "no configuration has a value: all diverged"


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e100])
def test_equal_values_are_not_told_apart(scale: float) -> None:
    values: list[float | None] = [0.1 * scale, 0.7 * scale, 0.3 * scale]
    found = rank(over_seeds(1, values) + over_seeds(2, values), "minimize")
    against = found[1].against_best
    assert against is not None
    assert (against.p_t, against.p_flip, against.p) == (None, 1.0, 1.0)
    assert found[1].verdict == (
        "not told apart: on average neither better nor worse than the best, p = 1 over 3 seeds"
    )


def test_differences_that_do_not_vary_are_judged_by_flips_alone() -> None:
    found = rank(over_seeds(1, [1.0, 2.0, 3.0]) + over_seeds(2, [1.5, 2.5, 3.5]), "minimize")
    against = found[1].against_best
    assert against is not None
    assert (against.p_t, against.p) == (None, 2 / 8)


def test_the_same_run_twice_counts_once() -> None:
    rows = [Row({"/lr": 1, "/seed": 0}, 1.0), Row({"/seed": 0, "/lr": 1.0}, 3.0)]
    (only,) = rank(rows, "minimize")
    assert (only.n, only.mean) == (1, 2.0)
    assert only.verdict == "the only configuration with a value"


def test_other_fields_may_repeat() -> None:
    rows = [
        Row({"/lr": lr, "/seed": s, "/data/split": d}, lr + s + 10 * d + 0.01 * lr * s * d)
        for lr in (1, 2) for s in (0, 1) for d in (0, 1)
    ]  # fmt: skip
    found = rank(rows, "minimize", repeated=("/seed", "/data/split"))
    assert [each.n for each in found] == [4, 4]
    assert "over 4 repeats" in found[0].verdict


def test_nothing_to_rank() -> None:
    assert rank([], "minimize") == []


def test_thousands_of_configurations_take_no_time() -> None:
    rng = np.random.default_rng(0)
    rows = [Row({"/lr": i, "/seed": s}, rng.random()) for i in range(2500) for s in range(4)]
    start = time.perf_counter()
    assert len(rank(rows, "minimize")) == 2500
    assert time.perf_counter() - start < 5


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), VALUES), max_size=20))
def test_whatever_comes_is_ranked(cells: list[tuple[int, int, float | None]]) -> None:
    rows = [Row({"/lr": lr, "/seed": seed}, value) for lr, seed, value in cells]
    found, mirrored = (
        rank(rows, "minimize"),
        rank([Row(r.parameters, None if r.value is None else -r.value) for r in rows], "maximize"),
    )
    assert sorted(lrs(found)) == sorted({lr for lr, _, _ in cells})
    assert lrs(found) == lrs(mirrored)
    assert [each.verdict for each in found] == [each.verdict for each in mirrored]
    for each in found:
        assert each.verdict
        assert (each.mean is None) == (each.n == 0)
        if each.against_best is not None and each.against_best.p is not None:
            assert 0 <= each.against_best.p <= 1
            assert each.against_best.pairs >= 2
