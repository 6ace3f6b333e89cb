"""Losses of a range test as functions of the learning rate, to read in tests."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from schedules.analysis import Analysis, Family, Status, analyse
from schedules.values import F64

EDGE = 0.5


def ramp(n: int = 300) -> F64:
    return np.geomspace(1e-7, 10, n)


def bowl(lr: F64, *, edge: float = EDGE, noise: float = 0.05, seed: int = 0) -> F64:
    """Falls from 2.3 to .3 around .001, and has regained a quarter of that at `edge`."""
    loss = 0.3 + 2 / (1 + (lr / 0.001) ** 1.5) + 0.5 * (lr / edge) ** 3
    return loss + noise * np.random.default_rng(seed).standard_normal(lr.size)


def bowls(lr: F64, *, noise: float = 0.05, seed: int = 0, repeats: int = 3) -> list[F64]:
    return [bowl(lr, noise=noise, seed=100 * seed + each) for each in range(repeats)]


def read(lr: F64, losses: Sequence[ArrayLike], family: Family = "sgd") -> Analysis:
    """The reading of losses that belong to the rates they are given with."""
    return analyse(lr, losses, family=family, loss="probe")


def edge_of(found: Analysis) -> float:
    assert found.status is Status.OK
    assert found.landmarks.lr_edge is not None
    return found.landmarks.lr_edge


def decades(one: float | None, other: float | None) -> float:
    assert one is not None
    assert other is not None
    return abs(float(np.log10(one / other)))
