"""How far an update could go before it would raise the loss of its own batch.

Forward passes only, after Kalra and Barkeshli, arXiv 2406.09405.
"""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from worker.engine.losses import CROSS_ENTROPY, Criterion
from worker.engine.optimizers import set_lr
from worker.engine.probe import undisturbed

FACTOR = 4.0
"""From one multiple to the next, until the boundary lies between two."""

FAR = 30
"""So many such factors up, the loss counts as never rising; down, as always: 10^18."""

HALVINGS = 3
"""Of what it lies between, in the logarithm: 4^(1/8) = 1.19 is left."""

ROUNDING = 1e-6
"""Relative; of a loss that has not changed."""


def longest_update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    labels: Tensor,
    *,
    lr: float,
    guess: float = 1.0,
    criterion: Criterion = CROSS_ENTROPY,
) -> float:
    """The largest multiple of the update on a batch that does not raise the loss of that batch.

    The update is the optimizer's next one at rate `lr`, with its momentum and all. It is made with
    copies: model and optimizer are left as they are. The loss is that of `probe.undisturbed`.

    Args:
        model: in training mode.
        optimizer: of the model.
        inputs: the batch, on the model's device.
        labels: of the batch.
        lr: the rate of the update.
        guess: where to look first; it only saves forward passes.
        criterion: the loss.

    Returns:
        The multiple; 0 where the smallest one raises the loss already, infinite where none does.
    """
    model, optimizer = copy.deepcopy((model, optimizer))
    weights = [each for each in model.parameters() if each.requires_grad]
    set_lr(optimizer, lr)
    optimizer.zero_grad()
    with undisturbed(model), torch.enable_grad():
        loss = criterion(model(inputs).float(), labels)
    torch.autograd.backward(loss)
    before = [each.detach().clone() for each in weights]
    optimizer.step()
    update = [each.detach() - start for each, start in zip(weights, before, strict=True)]
    highest = loss.item() * (1 + ROUNDING)

    @torch.no_grad()
    def rises(multiple: float) -> bool:
        for each, start, change in zip(weights, before, update, strict=True):
            each.copy_(start + multiple * change)
        with undisturbed(model):
            there = criterion(model(inputs).float(), labels).item()
        return math.isnan(there) or there > highest

    return boundary(rises, guess)


def boundary(rises: Callable[[float], bool], guess: float) -> float:
    """The multiple from which on it rises, to within 9 %; 0 or infinite where that is far away."""
    factor = 1 / FACTOR if rises(guess) else FACTOR
    near, far = guess, guess * factor
    for _ in range(FAR):
        if rises(far) == (factor > 1):
            break
        near, far = far, far * factor
    else:
        return math.inf if factor > 1 else 0.0
    low, high = sorted((near, far))
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if rises(middle) else (middle, high)
    return math.sqrt(low * high)
