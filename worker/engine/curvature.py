"""The curvature of the loss: the largest eigenvalue of its Hessian, by power iteration."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.engine.probe import undisturbed

Vector = list[Tensor]
"""One tensor for each parameter of a model."""


def largest_eigenvalue(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    seed: int,
    scales: Sequence[Tensor] | None = None,
    iterations: int = 50,
    tolerance: float = 1e-3,
) -> float:
    """The largest (not the largest absolute) eigenvalue of the Hessian of the batch's mean loss.

    Power iteration finds the eigenvalue of largest magnitude; where that is negative, a second
    one, shifted by it, finds the other end of the spectrum. Each ends when its estimate changes
    by less than `tolerance` of itself, after `iterations` products at the latest. The model, in
    training mode, computes as in `probe.undisturbed`, in full precision.

    Args:
        model: is left as it was, gradients included.
        inputs: the batch, on the model's device.
        labels: of the batch.
        seed: of the vector that the iteration starts from.
        scales: S, one tensor for each parameter: the eigenvalue is that of S H S. With the root
            of a preconditioner's inverse it is the preconditioned sharpness (arXiv 2207.14484).
        iterations: how many products with the Hessian either iteration makes at most.
        tolerance: the relative change that ends an iteration.

    Returns:
        The eigenvalue, NaN where the loss has no finite second derivatives.
    """
    parameters = [each for each in model.parameters() if each.requires_grad]
    with undisturbed(model), torch.enable_grad():
        loss = functional.cross_entropy(model(inputs).float(), labels)
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
    dominant = _dominant(product, start, iterations, tolerance)
    if not dominant < 0:
        return dominant

    def shifted(vector: Vector) -> Vector:
        return [h - dominant * v for h, v in zip(product(vector), vector, strict=True)]

    return dominant + _dominant(shifted, start, iterations, tolerance)


def _dominant(
    product: Callable[[Vector], Vector], start: Vector, iterations: int, tolerance: float
) -> float:
    """The Rayleigh quotient that power iteration settles on."""
    vector, found = _unit(start), math.nan
    for _ in range(iterations):
        image = product(vector)
        before, found = found, float(_dot(vector, image))
        if not math.isfinite(found) or abs(found - before) <= tolerance * abs(found):
            break
        vector = _unit(image)
    return found if math.isfinite(found) else math.nan


def _dot(a: Vector, b: Vector) -> Tensor:
    return torch.stack(
        [torch.vdot(x.flatten(), y.flatten()) for x, y in zip(a, b, strict=True)]
    ).sum()


def _unit(vector: Vector) -> Vector:
    # a vector that the Hessian sends to zero stays zero, and so does its quotient
    norm = _dot(vector, vector).sqrt().clamp_min(torch.finfo(torch.float32).tiny)
    return [each / norm for each in vector]
