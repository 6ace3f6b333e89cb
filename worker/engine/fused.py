"""The update of torch's fused optimizers, without what their `step()` does anew each time.

`step()` opens a profiler range, looks up the state of each parameter and sorts tensors by device
and type; for a small model that takes longer than the arithmetic. The kernel and its arguments are
the same here, and so are the results, to the bit.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def updater(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """What makes the optimizer's update from the gradients at hand: its own step, or a faster one.

    All state stays in the optimizer's `state`, under torch's names.
    """
    known = type(optimizer) in {torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW}
    if known and all(map(_is_usual, optimizer.param_groups)):
        return _Fused(optimizer)
    return optimizer.step


def _is_usual(group: dict[str, Any]) -> bool:
    """Whether the kernels below are what the group asks for; a plug-in's may ask for more."""
    others = ("maximize", "dampening", "capturable", "differentiable")
    return bool(group["fused"]) and not any(group.get(name) for name in others)


class _Fused:
    """Leaves to the optimizer's own step what is not as usual: its first update makes the state."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._kernel = _sgd if isinstance(optimizer, torch.optim.SGD) else _adam
        self._tensors: list[list[list[Tensor]]] = []

    def __call__(self) -> None:
        groups = self._optimizer.param_groups
        gradients = [[each.grad for each in group["params"]] for group in groups]
        missing = any(each is None for group in gradients for each in group)
        if missing or not self._tensors:
            self._optimizer.step()
            self._tensors = [] if missing else [_state(each, self._optimizer) for each in groups]
            return
        for group, given, tensors in zip(groups, gradients, self._tensors, strict=True):
            self._kernel(group, given, tensors)


def _state(group: dict[str, Any], optimizer: torch.optim.Optimizer) -> list[list[Tensor]]:
    """The group's parameters, then its state, name by name as the kernels take them.

    What an optimizer with other parameters has left there is not used.
    """
    used = (
        {"momentum_buffer": group["momentum"] != 0}
        if isinstance(optimizer, torch.optim.SGD)
        else {"exp_avg": True, "exp_avg_sq": True, "max_exp_avg_sq": group["amsgrad"], "step": True}
    )
    states = [optimizer.state.get(each, {}) for each in group["params"]]
    return [
        [each.detach() for each in group["params"]],
        *([each[name] for each in states] if wanted else [] for name, wanted in used.items()),
    ]


def _sgd(group: dict[str, Any], gradients: Any, tensors: list[list[Tensor]]) -> None:
    parameters, velocities = tensors
    torch._fused_sgd_(
        parameters,
        gradients,
        velocities,
        weight_decay=group["weight_decay"],
        momentum=group["momentum"],
        lr=group["lr"],
        dampening=0.0,
        nesterov=group["nesterov"],
        maximize=False,
        is_first_step=False,
    )


def _adam(group: dict[str, Any], gradients: Any, tensors: list[list[Tensor]]) -> None:
    parameters, means, squares, largest, steps = tensors
    torch._foreach_add_(steps, 1)
    decoupled = group["decoupled_weight_decay"]
    kernel = torch._fused_adamw_ if decoupled else torch._fused_adam_
    kernel(
        parameters,
        gradients,
        means,
        squares,
        largest,
        steps,
        amsgrad=group["amsgrad"],
        lr=group["lr"],
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=False,
    )
