"""A dataset that stays where it is and comes to the device batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from weakref import WeakSet

import numpy as np
import torch

from spec.compute import Loader
from spec.states import Reason
from worker.engine.batches import Batches, orders
from worker.engine.errors import EngineError
from worker.engine.loaders import Loading
from worker.engine.models import Shape
from worker.engine.ranks import ONLY, Rank
from worker.engine.readers import Asked, Passes, Reader
from worker.engine.sources import ByIndex, InMemory, OneByOne, Rows, Source
from worker.engine.splits import Split
from worker.engine.standard import Standard


class Stream:
    """A split that a DataLoader reads; its batches are to the bit those of a `Split`."""

    def __init__(
        self,
        source: Source | ByIndex | OneByOne,
        standard: Standard | None,
        loader: Loader,
        device: torch.device,
        *,
        classes: int,
    ) -> None:
        self._source = source
        self._classes = classes
        self._standard = standard and standard.to(device)
        self._loader = loader.model_copy(update={"workers": _workers(source, loader)})
        self._device = device
        self._open = WeakSet[Loading]()
        self._whole: dict[int, Loading] = {}
        self._firsts: dict[int, Split] = {}

    def __len__(self) -> int:
        return len(self._source)

    @property
    def shape(self) -> Shape:
        """Channels, height and width of an example."""
        return self._source.shape

    def first(self, size: int) -> Split:
        """The batch that it begins with; read once, and kept."""
        if size not in self._firsts:
            (self._firsts[size],) = self.in_order(size, most=1)
        return self._firsts[size]

    def in_order(self, size: int, *, most: int | None = None) -> Iterator[Split]:
        """One batch after another from the start, the last perhaps smaller; `most` at most."""
        if most is not None:  # a few are not worth processes
            few = self._in_order(size, Loader(workers=0))
            return self._placed(islice(few.batches(), most))
        if size not in self._whole:  # the processes stay for the next time
            self._whole[size] = self._in_order(size, self._loader)
        return self._placed(self._whole[size].batches())

    def shuffled(
        self,
        size: int,
        shuffle: torch.Generator,
        *,
        done: int = 0,
        rank: Rank = ONLY,
        parts: int = 1,
    ) -> Iterator[Split]:
        """Batches to train on, without end and without the first `done`: see `orders`.

        Those of a dataset that is read one by one are in its order, and skipped by reading them.
        """
        seed = shuffle.initial_seed()
        if isinstance(self._source, OneByOne):
            if not rank.alone:
                raise EngineError(
                    Reason.INVALID,
                    "/data: examples that come one by one cannot be shared by processes; let the"
                    " dataset have a length and examples by their index, or leave it to one",
                )
            passes = Passes(self._source, size, seed, once=False)
            loading = self._opened(Loading(passes, self._loader, self._device))
            rows: Iterator[Rows] = islice(loading.batches(), done, None)
        else:
            epochs = orders(len(self), size, shuffle, done=done, rank=rank, parts=parts)
            rows_of = (each.numpy() for epoch in epochs for each in epoch.unbind())
            asked = enumerate(rows_of, start=done)
            reader = Reader(self._source, seed)
            loading = self._opened(Loading(reader, self._loader, self._device, asked=asked))
            rows = loading.batches()
        try:
            yield from self._placed(rows)
        finally:
            loading.close()

    def close(self) -> None:
        """End the processes that read."""
        for loading in list(self._open):
            loading.close()
        self._whole.clear()

    def _in_order(self, size: int, loader: Loader) -> Loading:
        if isinstance(self._source, OneByOne):
            passes = Passes(self._source, size, 0, once=True)
            return self._opened(Loading(passes, loader, self._device))
        asked = _Consecutive(len(self), size)
        return self._opened(Loading(Reader(self._source, 0), loader, self._device, asked=asked))

    def _opened(self, loading: Loading) -> Loading:
        self._open.add(loading)
        return loading

    def _placed(self, batches: Iterator[Rows]) -> Iterator[Split]:
        """The batches on the device; a GPU fetches the next one while it works on this one."""
        if self._device.type != "cuda":
            yield from map(self._moved, batches)
            return
        copying = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # as it comes
        coming: tuple[Split, torch.cuda.Event] | None = None
        for rows in batches:
            with torch.cuda.stream(copying):
                following = self._moved(rows), copying.record_event()
            if coming is not None:
                yield _arrived(*coming)
            coming = following
        if coming is not None:
            yield _arrived(*coming)

    def _moved(self, rows: Rows) -> Split:
        least, most = rows.labels.aminmax()
        if least < 0 or most >= self._classes:  # on a GPU this would end the process's use of it
            raise EngineError(
                Reason.CODE,
                f"the data has a label {int(most if most >= self._classes else least)}, which is"
                f" not one of {self._classes} classes",
            )
        inputs = rows.inputs.to(self._device, non_blocking=True)
        labels = rows.labels.to(self._device, non_blocking=True)
        standard = self._standard
        return Split(inputs.to(torch.float32) if standard is None else standard(inputs), labels)


def _arrived(batch: Split, copied: torch.cuda.Event) -> Split:
    using = torch.cuda.current_stream(batch.labels.device)
    using.wait_event(copied)
    for each in (batch.inputs, batch.labels):
        each.record_stream(using)  # its memory is not to be used again before that is done with it
    return batch


@dataclass(frozen=True)
class _Consecutive:
    """Asks for all batches from the first to the last, as often as it is iterated."""

    examples: int
    size: int

    def __iter__(self) -> Iterator[Asked]:
        for number, start in enumerate(range(0, self.examples, self.size)):
            yield number, np.arange(start, min(start + self.size, self.examples))


def _workers(source: Source | ByIndex | OneByOne, loader: Loader) -> int:
    match source:
        case InMemory():
            return 0  # handing them a copy each takes longer than all they could do
        case OneByOne():
            return min(loader.workers, 1)  # several would each read all of it
    return loader.workers


class StreamedBatches:
    """One batch after another of a split that is streamed."""

    def __init__(self, batches: Iterator[Split]) -> None:
        self._batches = batches

    def next(self) -> Split:
        """The next batch, on the device."""
        return next(self._batches)


def shuffled(
    split: Split | Stream,
    size: int,
    shuffle: torch.Generator,
    *,
    done: int = 0,
    rank: Rank = ONLY,
    parts: int = 1,
) -> Batches | StreamedBatches:
    """The batches of a training that has had `done` of them, from a generator as at its start."""
    if isinstance(split, Split):
        return Batches(split, size, shuffle, done=done, rank=rank, parts=parts)
    return StreamedBatches(split.shuffled(size, shuffle, done=done, rank=rank, parts=parts))


@dataclass(frozen=True)
class Streamed:
    """A training and a validation split, neither of them in the device's memory."""

    train: Stream
    validation: Stream
    classes: int

    @property
    def shape(self) -> Shape:
        """Channels, height and width of an example."""
        return self.train.shape

    def close(self) -> None:
        """End the processes that read."""
        self.train.close()
        self.validation.close()
