"""A plain PyTorch loop over the same streams of random numbers as the engine's."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from schedules.values import F64
from spec.components import DigitsParams
from tests.worker.engine.conftest import CPU
from worker.engine.data import load

EPOCH = 44 * 32
"""What an epoch on the digits takes in batches of 32."""


def digits_mlp(seed: int) -> tuple[nn.Sequential, torch.Generator]:
    """The model that the engine's jobs in these tests begin with, and the stream of its batches."""
    init, order, _ = (int(each) for each in np.random.SeedSequence(seed).generate_state(3, "u8"))
    with torch.random.fork_rng():
        torch.manual_seed(init)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    return model, torch.Generator().manual_seed(order)


def plain_loop(
    make: Callable[[nn.Sequential], torch.optim.Optimizer],
    *,
    lr: F64,
    momentum: F64 | None = None,
    seed: int = 7,
) -> tuple[NDArray[np.float32], nn.Sequential]:
    """The losses, and the model after them; a group of the optimizer may have a `factor`."""
    data = load(DigitsParams(), device=CPU, data_dir=Path()).train
    model, shuffle = digits_mlp(seed)
    optimizer, losses = make(model), []
    while len(losses) < len(lr):
        for batch in torch.randperm(1437, generator=shuffle)[:EPOCH].split(32):
            t = len(losses)
            for group in optimizer.param_groups:
                group["lr"] = lr[t] * group.get("factor", 1)
                if momentum is not None and "betas" in group:
                    group["betas"] = (momentum[t], 0.99)
                elif momentum is not None:
                    group["momentum"] = momentum[t]
            loss = nn.functional.cross_entropy(model(data.inputs[batch]), data.labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) == len(lr):
                break
    return np.array(losses, np.float32), model
