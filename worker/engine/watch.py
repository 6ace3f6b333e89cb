"""The losses of a training as they come in: what its end and its result depend on."""

import numpy as np
import torch
from numpy.typing import NDArray

from worker.engine.events import Block, State

DIVERGED = 10
"""So many losses in a row that are not finite end a training."""

GONE = 1.25
"""A training that ends above so many times the loss it began with has diverged as well."""

F32 = NDArray[np.float32]


class Watch:
    """Remembers as many losses as it takes to tell how the training goes.

    Attributes:
        per_epoch: updates.
        done: updates made, those that do not count after a divergence left out.
        diverged_at: the first of the losses that are not finite and ended the training.
    """

    def __init__(self, per_epoch: int, *, means: bool) -> None:
        self.done = 0
        self.diverged_at: int | None = None
        self.per_epoch = per_epoch
        # the last epoch, or what a run of losses that are not finite may begin in
        self._recent: F32 = np.empty(0, np.float32)
        self._means = means  # all losses of a long training are not kept for nothing
        self._unread: list[F32] = []
        self._limit, self._inside = np.inf, -1  # the last iteration with a loss within the limit

    def take(self, block: Block) -> Block:
        """The block, cut off where the training has diverged."""
        losses = block.columns["loss"].astype(np.float32)
        if not len(self._recent):
            self._limit = GONE * float(losses[0])
        within = np.flatnonzero(losses <= self._limit)
        self._inside = block.start + int(within[-1]) if len(within) else self._inside
        if self._means:
            self._unread.append(losses)
        self._recent = np.concatenate([self._recent[-max(self.per_epoch, DIVERGED) :], losses])
        self.done = block.start + len(block)
        run = first_run(~np.isfinite(self._recent), DIVERGED)
        if run is None:
            return block
        self.diverged_at = self.done - len(self._recent) + run
        self.done, self._recent = self.diverged_at + DIVERGED, self._recent[: run + DIVERGED]
        return block.until(self.done)

    def mean(self) -> float:
        """With `means`, the mean of the losses since the last call, however blocks were cut."""
        mean = float(np.concatenate(self._unread).mean(dtype=np.float64))
        self._unread.clear()
        return mean

    def state_dict(self) -> State:
        """All that the next block is judged by."""
        return {
            "done": self.done,
            "recent": torch.from_numpy(self._recent),
            "unread": torch.from_numpy(np.concatenate([np.empty(0, np.float32), *self._unread])),
            "limit": self._limit,
            "inside": self._inside,
        }

    def load_state_dict(self, state: State, *, unread: bool = True) -> None:
        """Go on from there; without `unread` the next mean is of what is still to come."""
        self.done, self._limit, self._inside = state["done"], state["limit"], state["inside"]
        self._recent = state["recent"].numpy()
        self._unread = [state["unread"].numpy()] if unread else []

    def end(self) -> tuple[float, int | None]:
        """The mean loss of the last epoch, and where the training diverged, if it did."""
        train_loss = float(self._recent[-self.per_epoch :].mean(dtype=np.float64))
        stayed_out = self._inside + 1 < self.done and not train_loss <= self._limit
        if self.diverged_at is None and stayed_out:
            return train_loss, self._inside + 1
        return train_loss, self.diverged_at


def first_run(flags: NDArray[np.bool_], length: int) -> int | None:
    """Where the first `length` true flags in a row begin."""
    if len(flags) < length:
        return None
    runs = np.lib.stride_tricks.sliding_window_view(flags, length).all(axis=1)
    return int(runs.argmax()) if runs.any() else None
