"""A randomized Halton sequence: points that fill a cube evenly, however many are taken."""

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence

from schedules.values import F64

BITS = 53
"""Of a float; digits that weigh less change nothing."""


def halton(count: int, dimensions: int, *, seed: int, start: int = 0) -> F64:
    """Points `start`, `start + 1`, ... of the sequence, each coordinate in [0, 1).

    Coordinate j of point i is the radical inverse of i in the j-th prime base, each digit of it
    permuted at random: Owen, arXiv 1706.02808. Without the permutations the coordinates of large
    bases run along each other. Shape (count, dimensions).
    """
    points = np.zeros((count, dimensions))
    for j, base in enumerate(_primes(dimensions)):
        permutations = Generator(PCG64(SeedSequence([seed, j])))
        rest, weight = np.arange(start, start + count), 1 / base
        # also the leading zeros of i are permuted, hence as many digits for all
        while weight > 2.0**-BITS:
            points[:, j] += permutations.permutation(base)[rest % base] * weight
            rest, weight = rest // base, weight / base
    return np.minimum(points, np.nextafter(1, 0))


def _primes(count: int) -> list[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found
