"""The benchmarks of searches: both sides train the same, and a replay stops as sweeps do."""

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from schedules import Policy, Triangular
from spec.sweeps import SweepSpec
from sweeps.proposing import promised

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A script's, by its name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.fixture
def study(module: Callable[[str], Any]) -> Callable[[list[list[float]]], Any]:
    """Runs of four cycles of ten iterations, evaluated after every five."""

    def made(values: list[list[float]]) -> Any:
        cycle = Triangular(base_lr=0.01, max_lr=0.1, step_size=5)
        schedules = [cycle] * len(values)
        return module("cycle_end_replay").Study("x", schedules, 40, 5, 10, {0: np.array(values)})

    return made


def test_a_replay_compares_where_it_says(study: Callable[..., Any]) -> None:
    # within cycles the order of the runs is the other way round
    runs = [[9 - n, n / 10] * 4 for n in range(1, 10)]
    found = study(runs)
    assert [each.iteration for each in found.at_ends(1)[0]] == [10, 30]
    assert [each.iteration for each in found.at_intervals(5)[0]] == [5, 15]
    order = list(range(9))[::-1]
    at_ends = found.once(found.values[0], found.at_ends(1), order, 9)
    within = found.once(found.values[0], found.at_intervals(5), order, 9)
    assert at_ends[:2] == (1.0, 0.0)
    assert within[0] == 0.0
    assert within[1] > 0


def test_what_is_saved_is_what_was_not_run(study: Callable[..., Any]) -> None:
    runs = [[float(n)] * 8 for n in range(3)]
    found = study(runs)
    # one at a time, the best first: the third to come is compared with two, and stopped
    kept, regret, saved = found.once(found.values[0] + 1, found.at_ends(1), [0, 1, 2], 1)
    assert (kept, regret) == (1.0, 0.0)
    assert saved == pytest.approx(30 / 120)


def test_runs_that_diverge_are_not_kept(study: Callable[..., Any]) -> None:
    runs = [[1.0, *[np.inf] * 7], [3.0] * 8, [2.0] * 8]
    found = study(runs)
    kept, regret, saved = found.once(found.values[0], found.at_intervals(10), [0, 1, 2], 1)
    assert (kept, regret) == (1.0, 0.0)
    assert saved >= 30 / 120


OPTIONS = argparse.Namespace(runs=8, iterations=80)


@pytest.mark.parametrize("sampler", ["quasi_random", "tpe"])
def test_the_sweep_of_the_contest_is_one(module: Callable[[str], Any], sampler: str) -> None:
    speed = module("sweep_speed")
    assert promised(SweepSpec.model_validate(speed.sweep(OPTIONS, sampler, 3))) == 8


def test_a_peer_trains_what_ours_does(module: Callable[[str], Any], tmp_path: Path) -> None:
    speed, searches = module("sweep_speed"), module("peers.searches")
    data = searches.read(str(speed.written(tmp_path, 80)))
    assert data["train_inputs"].shape == (1437, 64)
    schedules = speed.schedules(80)
    for name, each in schedules.items():
        low = each.get("base_lr", 0.0)
        rates = low + (0.5 - low) * data[name].numpy()
        ours = TypeAdapter(Policy).validate_python({**each, "max_lr": 0.5})
        np.testing.assert_allclose(rates, ours.lr_at(np.arange(80), iterations=80), rtol=1e-9)
    peer = speed.Peer("optuna", "tpe", Path(sys.executable))
    found = peer.search(OPTIONS, tmp_path / "search.npz", 0)
    assert found.policy in schedules
    assert speed.LOW <= found.max_lr <= speed.HIGH
    assert 0 < found.value < np.log(10)
    assert 0 < found.warm < found.cold
