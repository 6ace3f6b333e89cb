"""Importance: shares that are known, and summaries along one or two parameters."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules.values import F64
from sweeps.importance import importance, interactions
from sweeps.ranking import Row
from sweeps.summaries import CHOICES, Bin, Summary, marginals, pair

DRAWN = st.lists(
    st.tuples(
        st.dictionaries(
            st.sampled_from(["/a", "/b", "/c"]),
            st.floats(-5, 5)
            | st.integers(0, 2)
            | st.sampled_from(["x", None, True, [1], {"k": 1}]),
        ),
        st.none() | st.floats(),
    ).map(lambda each: Row(*each)),
    max_size=30,
)


def drawn(
    function: Callable[[F64], F64], n: int = 4000, width: int = 4, seed: int = 0
) -> list[Row]:
    """Rows at points drawn evenly from the unit cube."""
    x = np.random.default_rng(seed).random((n, width))
    return [
        Row({f"/x{i}": v for i, v in enumerate(point)}, value)
        for point, value in zip(x.tolist(), function(x).tolist(), strict=True)
    ]


def shares(rows: list[Row], **options: Any) -> dict[str, float]:
    return {each.pointer: each.share for each in importance(rows, "minimize", **options)}


def test_an_additive_function() -> None:
    """A linear function's shares are its squared coefficients'."""
    found = shares(drawn(lambda x: 3 * x[:, 0] - 2 * x[:, 1] + x[:, 2]), by="value")
    expected = {"/x0": 9 / 14, "/x1": 4 / 14, "/x2": 1 / 14, "/x3": 0}
    assert found == pytest.approx(expected, abs=0.03)
    assert list(found) == list(expected)


def test_ishigami() -> None:
    """Its Sobol indices are known: .314, .442 and 0, and .244 of x0 with x2."""

    def ishigami(x: F64) -> F64:
        a, b, c, _ = (math.pi * (2 * each - 1) for each in x.T)
        return np.asarray(np.sin(a) + 7 * np.sin(b) ** 2 + 0.1 * c**4 * np.sin(a))

    rows = drawn(ishigami)
    expected = {"/x0": 0.314, "/x1": 0.442, "/x2": 0, "/x3": 0}
    assert shares(rows, by="value") == pytest.approx(expected, abs=0.03)
    first, *others = interactions(rows, "minimize", by="value")
    assert first.pointers == ("/x0", "/x2")
    assert 0.15 < first.share < 0.27  # coarse bins miss some of it
    assert all(each.share < 0.03 for each in others)


def test_a_whole_grid_is_the_analysis_of_variance() -> None:
    """Main effects .2 and .8 of the values, as nothing else differs."""
    rows = [
        Row({"/a": a, "/b": b, "/seed": s}, a + 2 * b)
        for a in (0, 1)
        for b in (0, 1)
        for s in range(50)
    ]
    found = shares(rows, by="value")
    assert found == pytest.approx({"/b": 0.8, "/a": 0.2, "/seed": 0}, abs=0.01)


def test_a_product_is_all_interaction() -> None:
    rows = drawn(lambda x: (x[:, 0] - 0.5) * (x[:, 1] - 0.5))
    assert max(shares(rows, by="value").values()) < 0.02
    assert interactions(rows, "minimize", by="value")[0].share > 0.8


def test_ranks_do_not_mind_outliers_or_divergence() -> None:
    rows = drawn(lambda x: x[:, 0] + 0.1 * x[:, 1])
    rows[0] = Row(rows[0].parameters, 1e6)
    assert shares(rows, by="value")["/x0"] < 0.1
    assert shares(rows)["/x0"] > 0.9
    above = [Row(r.parameters, None if r.parameters["/x1"] > 0.7 else r.value) for r in rows]  # type: ignore[operator]
    assert shares(above)["/x1"] > 0.4


def test_names_and_schedules_are_parameters_too() -> None:
    names: Any = ["sgd", "adam", {"policy": "constant"}, None]
    rows = [Row({"/n": names[i % 4], "/seed": i // 4}, float(i % 4 == 2)) for i in range(80)]
    assert shares(rows, by="value")["/n"] == pytest.approx(1)


def test_a_conditional_parameter_is_judged_where_it_is_there() -> None:
    rows = [Row({"/m": i % 10}, i % 10) for i in range(100)] + [Row({}, 1e9)] * 100
    (found,) = importance(rows, "minimize", by="value")
    assert (found.n, found.share) == (100, pytest.approx(1))


def test_chance_explains_nothing() -> None:
    noise = np.random.default_rng(1)
    found = [
        each
        for seed in range(40)
        for each in importance(drawn(lambda x: noise.random(len(x)), n=60, seed=seed), "minimize")
    ]
    assert len(found) == 160
    assert np.mean([each.p < 0.05 for each in found]) == pytest.approx(0.05, abs=0.04)
    assert np.mean([each.share for each in found]) < 0.04


def test_many_names_explain_no_more_than_chance() -> None:
    """Of twenty names for sixty rows, uncorrected, a third of the variance would be due."""
    found = [
        importance([Row({"/n": str(i % 20)}, v) for i, v in enumerate(values)], "minimize")[0].share
        for values in np.random.default_rng(2).random((30, 60)).tolist()
    ]
    assert np.mean(found) < 0.12


@pytest.mark.parametrize("rows", [[], [Row({"/a": 1}, 1.0)], [Row({"/a": 1}, 1.0)] * 9])
def test_nothing_varies(rows: list[Row]) -> None:
    assert importance(rows, "minimize") == interactions(rows, "minimize") == []


def test_ten_thousand_by_thirty_two() -> None:
    rows = drawn(lambda x: x[:, 7], n=10_000, width=32)
    start = time.perf_counter()
    assert importance(rows, "minimize")[0].pointer == "/x7"
    assert len(interactions(rows, "minimize")) == 32 * 31 / 2
    assert len(marginals(rows, "minimize")) == 32
    pair(rows, ("/x0", "/x7"), "minimize")
    assert time.perf_counter() - start < 10


def test_the_marginals_of_choices() -> None:
    values = {"sgd": [1.0, 2.0, 3.0, 4.0, None], "adam": [5.0], "lion": [None]}
    rows = [Row({"/n": name}, v) for name, found in values.items() for v in found]
    (found,) = marginals(rows, "maximize")
    assert found.pointer == "/n"
    assert found.bins == (Bin("sgd"), Bin("adam"), Bin("lion"))
    assert found.cells == (
        Summary(4, 1, 2.5, 4.0, (1.75, 2.5, 3.25)),
        Summary(1, 0, 5.0, 5.0, (5.0, 5.0, 5.0)),
        Summary(0, 1),
    )


def test_few_numbers_keep_a_bin_each_and_many_share() -> None:
    few = marginals([Row({"/m": m}, 1.0) for m in (0.9, 0.8, 0.9)], "minimize")[0]
    assert few.bins == (Bin(low=0.8, high=0.8), Bin(low=0.9, high=0.9))
    assert [each.n for each in few.cells] == [1, 2]
    many = marginals(drawn(lambda x: x[:, 0], n=200), "minimize", most=5)[0]
    assert [each.n for each in many.cells] == [40] * 5
    ends = [(each.low, each.high) for each in many.bins]
    assert ends == sorted(ends)  # type: ignore[type-var]
    for each, cell in zip(many.bins, many.cells, strict=True):
        assert (each.low, cell.best) == (each.low, each.low)


def test_a_grid_of_two() -> None:
    rows = [Row({"/a": a, "/b": b}, 10.0 * a + b) for a in (1, 2) for b in (1, 2, 3)]
    rows = [*rows[:-1], Row({"/a": 1}, 0.0)]
    found = pair(rows, ("/a", "/b"), "minimize")
    assert [each.low for each in found.rows] == [1, 2]
    assert [each.low for each in found.columns] == [1, 2, 3]
    assert [[each.mean for each in row] for row in found.cells] == [[11, 12, 13], [21, 22, None]]


def test_many_choices_by_many_are_no_millions_of_cells() -> None:
    """The most frequent keep a bin each, the first of those that are equally so."""
    names = [f"n{i}" for i in range(1000)]
    rows = [Row({"/n": name, "/m": f"m{i}"}, float(i)) for i, name in enumerate(names)]
    rows += [Row({"/n": "n900", "/m": "m900"}, 0.0), Row({"/n": "n7"}, 0.0)]
    found = pair(rows, ("/n", "/m"), "minimize")
    assert (len(found.cells), len(found.cells[0])) == (CHOICES, CHOICES)
    kept = [*names[: CHOICES - 2], "n900"]
    assert found.rows == (*map(Bin, kept), Bin(others=1000 - len(kept)))
    assert found.columns[-2:] == (Bin("m900"), Bin(others=951))
    assert found.cells[7][7] == Summary(1, 0, 7.0, 7.0, (7.0, 7.0, 7.0))
    assert found.cells[-2][-2].n == 2
    assert found.cells[-1][-1].n == 951
    assert sum(cell.n for row in found.cells for cell in row) == 1001
    exactly = pair(rows[:CHOICES], ("/n", "/m"), "minimize")
    assert exactly.rows == tuple(map(Bin, names[:CHOICES]))


@given(DRAWN)
def test_whatever_comes_is_summarised(rows: list[Row]) -> None:
    for each in importance(rows, "maximize"):
        assert 0 <= each.share <= 1
        assert 0 <= each.p <= 1
    for marginal in marginals(rows, "maximize", most=4):
        there = [row for row in rows if marginal.pointer in row.parameters]
        assert sum(cell.n + cell.diverged for cell in marginal.cells) == len(there)
        assert len(marginal.cells) == len(marginal.bins)
    grid = pair(rows, ("/a", "/b"), "minimize", most=3)
    both = [row for row in rows if {"/a", "/b"} <= row.parameters.keys()]
    assert sum(cell.n + cell.diverged for row in grid.cells for cell in row) == len(both)
    assert importance(rows, "minimize") == importance(rows, "minimize")
