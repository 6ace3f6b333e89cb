"""How far a phase has come, and the shapes in which a rate falls through it."""

from typing import Literal

import numpy as np

from schedules.values import F64

Fall = Literal["linear", "cosine", "1-sqrt"]


def progress(t: F64, iterations: int) -> F64:
    """From 0 at the first of so many iterations to 1 at the last; a phase of one stays at 0."""
    return t / max(1, iterations - 1)


def cosine(p: F64) -> F64:
    """Half a cosine wave, from 1 at p = 0 to 0 at p = 1.

    >>> cosine(np.array([0.0, 0.5, 1.0]))
    array([1. , 0.5, 0. ])
    """
    return (1 + np.cos(np.pi * p)) / 2


def fall(shape: Fall, p: F64) -> F64:
    """What is left of the height at progress p: 1 at p = 0, and 0 at p = 1.

    >>> fall("1-sqrt", np.array([0.1, 0.25])), fall("linear", np.array([0.25]))
    (array([0.68377223, 0.5       ]), array([0.75]))
    """
    match shape:
        case "linear":
            return 1 - p
        case "cosine":
            return cosine(p)
        case "1-sqrt":
            return 1 - np.sqrt(p)
