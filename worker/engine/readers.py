"""What runs in the processes that read: batches that are asked for, or one after the other."""

import random
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, Self

import numpy as np
import torch
from torch.utils.data import Dataset as MapStyle
from torch.utils.data import IterableDataset

from worker.engine.sources import ByIndex, Indices, OneByOne, Rows, Source, collated

Asked = tuple[int, Indices]
"""A batch by its number and the indices of its examples."""


@dataclass(frozen=True)
class Failed:
    """Takes the place of a batch that could not be read."""

    detail: str

    @classmethod
    def because(cls, error: Exception) -> Self:
        """The error, then where it was raised; a reader may keep only the beginning."""
        inner = error.__traceback__ and error.__traceback__.tb_next  # not the frame that caught it
        trace = "".join(traceback.format_exception(type(error), error, inner))
        return cls(f"the data could not be read: {type(error).__name__}: {error}\n{trace}")


class Reader(MapStyle[Rows | Failed]):
    """Reads the batches that it is asked for."""

    def __init__(self, source: Source | ByIndex, seed: int) -> None:
        self._source = source
        self._seed = seed

    def __getitem__(self, asked: Asked) -> Rows | Failed:
        number, indices = asked
        try:
            if not isinstance(self._source, ByIndex):
                return self._source.rows(indices)
            with drawing(self._seed, number):
                return self._source.rows(indices)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - a dataset's code may raise anything
            return Failed.because(error)


class Passes(IterableDataset[Rows | Failed]):
    """Reads a dataset one by one: pass after pass in whole batches, or `once` to its end."""

    def __init__(self, source: OneByOne, size: int, seed: int, *, once: bool) -> None:
        self._source = source
        self._size = size
        self._seed = seed
        self._once = once

    def __iter__(self) -> Iterator[Rows | Failed]:
        try:
            yield from self._one_pass() if self._once else self._endless()
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - a dataset's code may raise anything
            yield Failed.because(error)

    def _endless(self) -> Iterator[Rows]:
        number = 0
        for epoch in count():
            before, examples = number, self._begun(epoch)
            while len(pairs := self._taken(examples, self._size, number)) == self._size:
                yield collated(pairs, self._source.shape)
                number += 1
            if number == before:
                raise ValueError(f"it has less than one batch: {len(pairs)} of {self._size}")

    def _one_pass(self) -> Iterator[Rows]:
        examples, left = self._begun(0), len(self._source)
        for number in count():
            pairs = self._taken(examples, min(self._size, left), number)
            if not pairs:
                return
            yield collated(pairs, self._source.shape)
            left -= len(pairs)

    def _begun(self, epoch: int) -> Iterator[Any]:
        dataset = self._source.dataset
        if hasattr(dataset, "set_epoch"):
            dataset.set_epoch(epoch)
        with drawing(self._seed, epoch):
            return iter(dataset)

    def _taken(self, examples: Iterator[Any], size: int, number: int) -> list[Any]:
        with drawing(self._seed, number):
            return list(islice(examples, size))


@contextmanager
def drawing(seed: int, number: int) -> Iterator[None]:
    """Global generators that depend on nothing but these two; as they were before, after."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    python, numpy, own = np.random.SeedSequence([seed, number]).generate_state(3).tolist()
    try:
        random.seed(python)
        np.random.seed(numpy)  # noqa: NPY002 - what datasets draw from is not ours to choose
        torch.default_generator.manual_seed(own)
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002 - as above
        torch.set_rng_state(before[2])
