"""The loop written by hand, for one hidden layer only: what an engine could reach on this machine.

Forward and backward pass are matrix products into buffers that exist, without autograd; updates
are the kernels of the fused optimizers. What is fastest of threads and matrix products is tried.
"""

from collections.abc import Callable
from itertools import product
from time import perf_counter

import numpy as np
import torch
from peers.shared import dataset, model
from tasks import END, LR, START, Task
from torch import Tensor, nn

from worker.engine.device import onednn_is_exact

Choice = tuple[int, str]
"""Threads, and torch's setting of matrix products: `medium` is oneDNN's, without rounding here."""

_choices: dict[tuple[str, str], Choice] = {}


def measure(task: Task) -> float:
    """Iterations a second."""
    if task.device != "cpu":
        return _timed(task, task.iterations)
    key = (task.workload.title, task.precision)
    if key not in _choices:
        threads = [task.threads] if task.threads else sorted({1, torch.get_num_threads()})
        some = max(20, task.iterations // 5)
        speeds: dict[Choice, float] = {}
        for choice in product(threads, ["highest", "medium"] if onednn_is_exact() else ["highest"]):
            _choose(choice)
            speeds[choice] = max(_timed(task, some) for _ in range(2))
        _choices[key] = max(speeds, key=lambda choice: speeds[choice])
    _choose(_choices[key])
    return _timed(task, task.iterations)


def _choose(choice: Choice) -> None:
    torch.set_num_threads(choice[0])
    torch.set_float32_matmul_precision(choice[1])


def _timed(task: Task, iterations: int) -> float:
    inputs, labels = _data(task)
    began = perf_counter()
    losses = train(task, inputs, labels, iterations).tolist()  # which waits for the device
    seconds = perf_counter() - began
    if len(losses) != iterations or not np.isfinite(losses).all():
        raise RuntimeError(f"not {iterations} losses: {losses}")
    return iterations / seconds


_data_kept: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}


def _data(task: Task) -> tuple[Tensor, Tensor]:
    """Flat inputs in the precision of the products, and labels as a column."""
    key = (task.workload.data["name"], task.precision)
    if key not in _data_kept:
        examples = dataset(task).train
        inputs = examples.inputs.flatten(1).to(task.device, _type(task))
        _data_kept[key] = inputs, examples.labels[:, None].to(task.device)
    return _data_kept[key]


@torch.no_grad()
def train(task: Task, inputs: Tensor, labels: Tensor, iterations: int) -> Tensor:
    """The loss of each batch, on the device."""
    kind, batch = _type(task), task.workload.batch_size
    network = model(task, wrapped=False)
    first, second = (each for each in network.modules() if isinstance(each, nn.Linear))
    masters = [first.weight.data, first.bias.data, second.weight.data, second.bias.data]
    gradients = [torch.empty_like(each) for each in masters]
    # in fp32 the weights and gradients of the products are these; in bf16 they are copies
    lower = kind is not torch.float32
    weights = [each.to(kind) for each in masters] if lower else masters
    products = [each.to(kind) for each in gradients] if lower else gradients
    w1, b1, w2, b2 = weights
    g1, _, g2, _ = products

    def buffer(*shape: int, dtype: torch.dtype = kind) -> Tensor:
        return torch.empty(*shape, dtype=dtype, device=inputs.device)

    x, hidden, back = (buffer(batch, width) for width in (len(inputs[0]), len(b1), len(b1)))
    y = buffer(batch, 1, dtype=torch.int64)
    scores, error = (buffer(batch, len(b2)) for _ in range(2))
    logs, exact = (buffer(batch, len(b2), dtype=torch.float32) for _ in range(2))
    minus = torch.full_like(y, -1, dtype=torch.float32)
    losses = buffer(iterations, dtype=torch.float32)
    update = _update(task, masters, gradients)
    rates = np.geomspace(START, END, iterations) if task.mode == "range-test" else [LR] * iterations
    order: tuple[Tensor, ...] = ()

    for i, lr in enumerate(rates):
        at = i % (len(inputs) // batch)
        if at == 0:
            order = torch.split(torch.randperm(len(inputs), device=inputs.device), batch)
        torch.index_select(inputs, 0, order[at], out=x)
        torch.index_select(labels, 0, order[at], out=y)

        torch.addmm(b1, x, w1.T, out=hidden).relu_()
        torch.addmm(b2, hidden, w2.T, out=scores)
        torch.log_softmax(scores.float(), 1, out=logs)
        losses[i] = logs.gather(1, y).mean().neg_()

        torch.exp(logs, out=exact).scatter_add_(1, y, minus).div_(batch)
        error = error.copy_(exact) if lower else exact
        torch.mm(error.T, hidden, out=g2)
        torch.mm(error, w2, out=back)
        torch.ops.aten.threshold_backward.grad_input(back, hidden, 0, grad_input=back)
        torch.mm(back.T, x, out=g1)
        torch.sum(back, 0, dtype=torch.float32, out=gradients[1])
        torch.sum(exact, 0, out=gradients[3])
        if lower:
            gradients[0].copy_(g1)
            gradients[2].copy_(g2)
        update(float(lr))
        if lower:
            torch._foreach_copy_(weights, masters)
    return losses


def _type(task: Task) -> torch.dtype:
    return torch.bfloat16 if task.precision == "bf16" else torch.float32


def _update(task: Task, weights: list[Tensor], gradients: list[Tensor]) -> Callable[[float], None]:
    """The fused kernel, with the state it needs."""
    means, squares = ([torch.zeros_like(each) for each in weights] for _ in range(2))
    steps = [torch.zeros((), device=each.device) for each in weights]
    params = task.workload.optimizer.get("params", {})

    def adam(lr: float) -> None:
        torch._foreach_add_(steps, 1)
        torch._fused_adam_(
            weights,
            gradients,
            means,
            squares,
            [],
            steps,
            lr=lr,
            beta1=0.9,
            beta2=0.999,
            weight_decay=0.0,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )

    def sgd(lr: float) -> None:
        torch._fused_sgd_(
            weights,
            gradients,
            means,
            weight_decay=0.0,
            momentum=params["momentum"],
            lr=lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
        )

    return adam if task.workload.optimizer["name"] == "adam" else sgd
