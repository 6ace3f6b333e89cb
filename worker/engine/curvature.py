"""The curvature of the loss: the largest eigenvalue of its Hessian, by Lanczos iteration."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from worker.engine.losses import CROSS_ENTROPY, Criterion
from worker.engine.probe import undisturbed

Vector = list[Tensor]
"""One tensor for each parameter of a model."""


def largest_eigenvalue(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    seed: int,
    criterion: Criterion = CROSS_ENTROPY,
    scales: Sequence[Tensor] | None = None,
    iterations: int = 50,
    tolerance: float = 1e-3,
) -> float:
    """The largest (not the largest absolute) eigenvalue of the Hessian of the batch's mean loss.

    Lanczos iteration, where power iteration would find the eigenvalue of largest magnitude, and
    lose its way between two that are as large: the largest eigenvalue of the tridiagonal matrix
    that the Hessian is on the Krylov space. It ends when that is within `tolerance` of itself of
    an eigenvalue, by the residual, after `iterations` products at the latest. Vectors are not
    orthogonalised anew, which would mean to keep them all: it brings up copies of eigenvalues,
    and no larger ones. The model, in training mode, computes as in `probe.undisturbed`, in full
    precision.

    Args:
        model: is left as it was, gradients included.
        inputs: the batch, on the model's device.
        labels: of the batch.
        seed: of the vector that the iteration starts from.
        criterion: the loss.
        scales: S, one tensor for each parameter: the eigenvalue is that of S H S. With the root
            of a preconditioner's inverse it is the preconditioned sharpness (arXiv 2207.14484).
        iterations: how many products with the Hessian there are at most.
        tolerance: the relative error that ends it.

    Returns:
        The eigenvalue, NaN where the loss has no finite second derivatives.
    """
    parameters = [each for each in model.parameters() if each.requires_grad]
    with undisturbed(model), torch.enable_grad():
        loss = criterion(model(inputs).float(), labels)
    gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)

    def product(vector: Vector) -> Vector:
        if scales is not None:
            vector = [v * s for v, s in zip(vector, scales, strict=True)]
        found = torch.autograd.grad(
            gradients, parameters, vector, retain_graph=True, materialize_grads=True
        )
        if scales is not None:
            return [h * s for h, s in zip(found, scales, strict=True)]
        return list(found)

    # drawn on the CPU, so that a seed means the same vector on every device
    random = torch.Generator().manual_seed(seed)
    start = [torch.randn(each.shape, generator=random).to(each) for each in parameters]
    return _largest(product, start, iterations, tolerance)


def _largest(
    product: Callable[[Vector], Vector], start: Vector, iterations: int, tolerance: float
) -> float:
    """The largest Ritz value; see `largest_eigenvalue`."""
    vector = _scaled(start, 1 / _norm(start))
    before, beta = vector, 0.0
    diagonal: list[float] = []
    beside: list[float] = []
    largest = math.nan
    for _ in range(iterations):
        image = product(vector)
        alpha = float(_dot(vector, image))
        if not math.isfinite(alpha):
            return math.nan
        rest = [h - alpha * v - beta * b for h, v, b in zip(image, vector, before, strict=True)]
        beta = _norm(rest)
        diagonal.append(alpha)
        matrix = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
        values, vectors = np.linalg.eigh(matrix)
        largest = float(values[-1])
        if beta * abs(vectors[-1, -1]) <= tolerance * abs(largest):
            break
        beside.append(beta)
        before, vector = vector, _scaled(rest, 1 / beta)
    return largest


def _dot(a: Vector, b: Vector) -> Tensor:
    return torch.stack(
        [torch.vdot(x.flatten(), y.flatten()) for x, y in zip(a, b, strict=True)]
    ).sum()


def _norm(vector: Vector) -> float:
    return math.sqrt(float(_dot(vector, vector)))


def _scaled(vector: Vector, factor: float) -> Vector:
    return [each * factor for each in vector]
