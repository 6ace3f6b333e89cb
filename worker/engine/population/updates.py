"""SGD and Adam for stacked parameters, with hyperparameters of each run's own.

The same arithmetic as torch's optimizers, of which each takes one value for all it updates.
"""
# ruff: noqa: SLF001 - torch's public foreach functions begin with an underscore

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from schedules.values import F64
from spec.components import AdamParams, AdamwParams, ComponentParams, SgdParams
from worker.engine.events import State

Factors = list[list[Tensor]]
"""For each coefficient a tensor for each parameter, (runs, 1, ...)."""

Kept = dict[str, list[Tensor]]
"""By name, of each parameter."""


class Update(ABC):
    """The optimizers of all runs of a population.

    Attributes:
        state: name -> a tensor for each parameter, (runs, *shape).
        now: the coefficients of the update at hand, (coefficients, runs).
        factors: the same, spread.
    """

    def __init__(self, runs: Sequence[ComponentParams], parameters: Sequence[Tensor]) -> None:
        self._runs = list(runs)
        self._parameters = list(parameters)
        self._updates = 0
        self._moves = False  # whether any run has ever had momentum
        self._moved = np.zeros(len(runs), bool)  # which have
        self._decays = False
        self.now = torch.empty(0)
        self.factors: Factors = []
        self.state: Kept = {
            name: [torch.zeros_like(each) for each in parameters] for name in self.kept()
        }

    @abstractmethod
    def kept(self) -> tuple[str, ...]:
        """The names of what is kept for each parameter."""

    @abstractmethod
    def coefficients(self, lr: F64, momentum: F64) -> F64:
        """What the coming updates multiply by, of shape (updates, coefficients, runs).

        `lr` and `momentum` are of shape (updates, runs); the momentum is NaN where a run's own
        holds.
        """

    @abstractmethod
    def step(
        self, parameters: list[Tensor], state: Kept, gradients: list[Tensor], factors: Factors
    ) -> None:
        """Change parameters and state: by the same operations as long as `form` is the same."""

    @property
    def form(self) -> tuple[bool, ...]:
        """Which operations the planned updates need."""
        return self._moves, self._decays

    def plan(self, lr: F64, momentum: F64) -> None:
        """Prepare as many updates as there are rows."""
        table = self.coefficients(lr, momentum).astype(np.float32)
        self._rows = torch.from_numpy(table).to(self._parameters[0].device).unbind()
        self._next = 0
        if self.now.shape != self._rows[0].shape:
            self.now = torch.empty_like(self._rows[0])
            self.factors = self.spread(self.now)

    def advance(self) -> None:
        """Turn to the next of the planned updates."""
        self.now.copy_(self._rows[self._next])
        self._next += 1
        self._updates += 1

    def spread(self, coefficients: Tensor) -> Factors:
        """Views of the coefficients of an update, which broadcast against the parameters."""
        more = [[1] * (each.dim() - 1) for each in self._parameters]
        return [[each.view(-1, *ones) for ones in more] for each in coefficients.unbind()]

    def keep(self, positions: Sequence[int], parameters: Sequence[Tensor]) -> None:
        """Go on with these runs, whose parameters are given."""
        rows = torch.tensor(positions, device=self._parameters[0].device)
        self._runs = [self._runs[each] for each in positions]
        self._moved = self._moved[list(positions)]
        self._parameters = list(parameters)
        self.state = {
            name: [each.index_select(0, rows) for each in tensors]
            for name, tensors in self.state.items()
        }

    @abstractmethod
    def of_run(self, run: int) -> list[State]:
        """A copy of one run's state for each parameter, under the names of torch's optimizer."""

    def load(self, runs: Sequence[Sequence[State]], *, updates: int) -> None:
        """Go on where each run has made so many updates, given its state for each parameter."""
        self._updates = updates
        for run, states in enumerate(runs):
            self.load_run(run, states)

    @abstractmethod
    def load_run(self, run: int, states: Sequence[State]) -> None:
        """Put one run's state, as `of_run` gives it, into its place."""

    def _own(self, name: str) -> F64:
        return np.array([getattr(each, name) for each in self._runs], np.float64)


class Sgd(Update):
    """As torch.optim.SGD."""

    def kept(self) -> tuple[str, ...]:
        """The velocity alone."""
        return ("velocity",)

    def coefficients(self, lr: F64, momentum: F64) -> F64:
        """Of the velocity in the parameters, of itself, of the parameters in the gradients."""
        own = np.where(np.isnan(momentum), self._own("momentum"), momentum)
        decay = np.broadcast_to(self._own("weight_decay"), lr.shape)
        self._moved |= own.any(axis=0)
        self._moves, self._decays = self._moves or bool(own.any()), bool(decay.any())
        return np.stack([-lr, own, decay], axis=1)

    def step(
        self, parameters: list[Tensor], state: Kept, gradients: list[Tensor], factors: Factors
    ) -> None:
        """Change parameters and velocity."""
        rates, momentum, decay = factors
        if self._decays:
            gradients = list(torch._foreach_addcmul(gradients, parameters, decay))
        if self._moves:
            velocity = state["velocity"]
            torch._foreach_mul_(velocity, momentum)
            torch._foreach_add_(velocity, gradients)
            ahead = cast("SgdParams", self._runs[0]).nesterov
            follow = torch._foreach_addcmul(gradients, velocity, momentum) if ahead else velocity
        else:
            follow = gradients
        torch._foreach_addcmul_(parameters, follow, rates)

    def of_run(self, run: int) -> list[State]:
        """The velocity, of a run that has one."""
        if not self._moved[run]:
            return [{} for _ in self._parameters]
        return [{"momentum_buffer": each[run].clone()} for each in self.state["velocity"]]

    def load_run(self, run: int, states: Sequence[State]) -> None:
        """The velocity, of a run that has one."""
        self._moved[run] = any(states)
        for velocity, kept in zip(self.state["velocity"], states, strict=True):
            if kept:
                velocity[run].copy_(kept["momentum_buffer"])


ADAM_NAMES = {"mean": "exp_avg", "square": "exp_avg_sq", "largest": "max_exp_avg_sq"}
"""Ours to torch's."""


class Adam(Update):
    """As torch.optim.Adam, and with decoupled weight decay as torch.optim.AdamW.

    The second beta and eps are one for all runs. The bias correction of the mean square, which
    torch divides its root by, is put into the rate and into eps.
    """

    def kept(self) -> tuple[str, ...]:
        """Averages of the gradients and of their squares, and the largest of these."""
        amsgrad = cast("AdamParams", self._runs[0]).amsgrad
        return ("mean", "square", *(["largest"] if amsgrad else []))

    def coefficients(self, lr: F64, momentum: F64) -> F64:
        """Rates, weight of a gradient in its average, eps, and the part of weight decay."""
        params = cast("AdamParams", self._runs[0])
        own = np.array([cast("AdamParams", each).betas[0] for each in self._runs])
        beta1 = np.where(np.isnan(momentum), own, momentum)
        t = self._updates + 1 + np.arange(len(lr))[:, None]
        root = np.sqrt(1 - params.betas[1] ** t)
        decay = np.broadcast_to(self._own("weight_decay"), lr.shape)
        self._decays = bool(decay.any())
        eps = np.broadcast_to(params.eps * root, lr.shape)
        shrink = 1 - lr * decay if isinstance(params, AdamwParams) else decay
        return np.stack([-lr * root / (1 - beta1**t), 1 - beta1, eps, shrink], axis=1)

    def step(
        self, parameters: list[Tensor], state: Kept, gradients: list[Tensor], factors: Factors
    ) -> None:
        """Change parameters and averages."""
        rates, fresh, eps, decay = factors
        params = cast("AdamParams", self._runs[0])
        mean, square = state["mean"], state["square"]
        if self._decays and isinstance(params, AdamwParams):
            torch._foreach_mul_(parameters, decay)
        elif self._decays:
            gradients = list(torch._foreach_addcmul(gradients, parameters, decay))
        torch._foreach_lerp_(mean, gradients, fresh)
        torch._foreach_mul_(square, params.betas[1])
        torch._foreach_addcmul_(square, gradients, gradients, 1 - params.betas[1])
        if params.amsgrad:
            torch._foreach_maximum_(state["largest"], square)
            square = state["largest"]
        denominator = torch._foreach_sqrt(square)
        torch._foreach_add_(denominator, eps)
        torch._foreach_addcdiv_(parameters, torch._foreach_mul(mean, rates), denominator)

    def of_run(self, run: int) -> list[State]:
        """The averages, and how many updates they are of."""
        return [
            {
                "step": torch.tensor(float(self._updates)),
                **{ADAM_NAMES[name]: each[i][run].clone() for name, each in self.state.items()},
            }
            for i in range(len(self._parameters))
        ]

    def load_run(self, run: int, states: Sequence[State]) -> None:
        """The averages."""
        for name, averages in self.state.items():
            for average, kept in zip(averages, states, strict=True):
                average[run].copy_(kept[ADAM_NAMES[name]])


def update_of(runs: Sequence[ComponentParams], parameters: Sequence[Tensor]) -> Update:
    """The optimizers of these runs, which are of one kind."""
    match runs[0]:
        case SgdParams():
            return Sgd(runs, parameters)
        case AdamParams():
            return Adam(runs, parameters)
    raise TypeError(f"no population is trained with {type(runs[0]).__name__}")
