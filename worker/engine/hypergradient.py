"""Hypergradient descent: the learning rate follows the derivative of the loss with respect to it.

Source: Baydin et al., arXiv 1703.04782. An update `w_g <- w_g - f_g * lr * u_g` of the parameter
groups g, with the factors f_g of their rates, makes the next loss change with the rate by
`d loss / d lr = -sum_g f_g * (gradient_g . u_g)`. Its negative is h, one number over all
parameters, and `lr <- max(0, lr + hyper_lr * h)` before each update but the first. A warm-up
takes its part of the rate when it is used.

u is the direction that the optimizer took last: the gradient (SGD-HD), the velocity or Nesterov's
step ahead of it (SGDN-HD), or `m_hat / (sqrt(v_hat) + eps)` (Adam-HD). Weight decay is in neither
factor of the product: the directions here come from averages of the gradients alone.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from spec.components import AdamParams, ComponentParams
from worker.engine.events import State


class LearnedRate:
    """The rate of one run, and what its next step depends on; all of it stays on the device."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        params: ComponentParams,
        *,
        lr: float,
        hyper_lr: float,
    ) -> None:
        adam = isinstance(params, AdamParams)
        self._groups = optimizer.param_groups
        self._directions = [
            _Adam(group, optimizer) if adam else _Sgd(group) for group in self._groups
        ]
        device = self._groups[0]["params"][0].device
        self._lr = torch.tensor(lr, dtype=torch.float64, device=device)
        self._hyper_lr = hyper_lr
        self._updates = 0

    @torch.no_grad()
    def adapt(self, warmup: float) -> Tensor:
        """Set the rate of the update at hand, whose gradients are there, and return it.

        `warmup` is what a warm-up leaves of it. Where h is not finite the rate is NaN, and so is
        every loss from then on.
        """
        gradients = [_flat(each.grad for each in group["params"]) for group in self._groups]
        if self._updates:
            h = self._h(gradients)
            learned = (self._lr + self._hyper_lr * h).clamp_min(0)
            self._lr = torch.where(h.isfinite(), learned, math.nan)
        self._updates += 1
        for direction, gradient in zip(self._directions, gradients, strict=True):
            direction.follow(gradient)
        # single precision is what the fused optimizers take; the sum is kept in double
        used = (self._lr * warmup).float()
        for group in self._groups:
            group["lr"] = used * group["factor"]
        return used

    def state_dict(self) -> State:
        """The rate, and for each group of parameters the last direction."""
        return {
            "lr": self._lr,
            "updates": self._updates,
            "directions": [each.state_dict() for each in self._directions],
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from there.

        Raises:
            ValueError: the groups of parameters are others.
        """
        self._lr = state["lr"].to(self._lr.device)
        self._updates = state["updates"]
        for direction, group, kept in zip(
            self._directions, self._groups, state["directions"], strict=True
        ):
            size, device = sum(each.numel() for each in group["params"]), self._lr.device
            placed = {name: each.to(device) for name, each in kept.items()}
            if any(each.numel() != size for each in placed.values()):
                raise ValueError("the groups of parameters are of other sizes")
            direction.load_state_dict(placed, updates=self._updates)

    def _h(self, gradients: list[Tensor]) -> Tensor:
        products = [
            group["factor"] * torch.dot(gradient, direction.last()).double()
            for group, gradient, direction in zip(
                self._groups, gradients, self._directions, strict=True
            )
        ]
        return torch.stack(products).sum()


class _Sgd:
    """The last direction of SGD without its weight decay."""

    def __init__(self, group: dict[str, Any]) -> None:
        self._group = group
        self._velocity: Tensor | None = None

    def follow(self, gradient: Tensor) -> None:
        momentum = self._group["momentum"]
        if self._velocity is None or not momentum:
            self._velocity = gradient
        else:
            self._velocity = momentum * self._velocity + gradient
        nesterov = self._group["nesterov"]
        self._last = gradient + momentum * self._velocity if nesterov else self._velocity

    def last(self) -> Tensor:
        return self._last

    def state_dict(self) -> dict[str, Tensor | None]:
        return {"velocity": self._velocity, "last": self._last}

    def load_state_dict(self, state: dict[str, Tensor], *, updates: int) -> None:  # noqa: ARG002 - as _Adam's
        self._velocity, self._last = state["velocity"], state["last"]


class _Adam:
    """The last direction of Adam without its weight decay, in the scale of Adam's own v."""

    def __init__(self, group: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
        self._group = group
        self._optimizer = optimizer
        self._m: Tensor | None = None
        self._updates = 0

    def follow(self, gradient: Tensor) -> None:
        beta1, _ = self._group["betas"]
        fresh = (1 - beta1) * gradient
        self._m = fresh if self._m is None else beta1 * self._m + fresh
        self._updates += 1

    def last(self) -> Tensor:
        # the update has been made meanwhile: its v is the optimizer's, and needs no copy
        name = "max_exp_avg_sq" if self._group["amsgrad"] else "exp_avg_sq"
        v = _flat(self._optimizer.state[each][name] for each in self._group["params"])
        beta1, beta2 = self._group["betas"]
        m_hat = self._m / (1 - beta1**self._updates)
        v_hat = v / (1 - beta2**self._updates)
        direction: Tensor = m_hat / (v_hat.sqrt() + self._group["eps"])
        return direction

    def state_dict(self) -> dict[str, Tensor | None]:
        return {"m": self._m}

    def load_state_dict(self, state: dict[str, Tensor], *, updates: int) -> None:
        self._m, self._updates = state["m"], updates


def _flat(parts: Iterable[Tensor]) -> Tensor:
    return torch.cat([each.flatten() for each in parts])
