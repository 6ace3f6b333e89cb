"""The optimizer of the example."""

from collections.abc import Iterable
from typing import Annotated, Any

import torch
from pydantic import Field

Beta = Annotated[float, Field(ge=0, lt=1)]


class Lion(torch.optim.Optimizer):
    """Lion: the sign of an average of gradients (arXiv 2302.06675)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        betas: tuple[Beta, Beta] = (0.9, 0.99),
        weight_decay: Annotated[float, Field(ge=0, le=100)] = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # noqa: ARG002 - torch's own signature
        """Make one update."""
        for group in self.param_groups:
            first, second = group["betas"]
            for each in group["params"]:
                if each.grad is None:
                    continue
                state = self.state[each]
                average = state.setdefault("average", torch.zeros_like(each))
                each.mul_(1 - group["lr"] * group["weight_decay"])
                each.add_(average.lerp(each.grad, 1 - first).sign_(), alpha=-group["lr"])
                average.lerp_(each.grad, 1 - second)
