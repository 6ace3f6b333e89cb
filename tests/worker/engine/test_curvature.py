"""The largest eigenvalue is that of the explicit Hessian, and finding it leaves no trace."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from spec.components import MlpParams, ResnetParams
from worker.engine import models
from worker.engine.curvature import _largest, largest_eigenvalue


def small(seed: int = 0) -> tuple[nn.Module, Tensor, Tensor]:
    """A model of 51 parameters and a batch; tanh, so that the Hessian has both signs."""
    torch.manual_seed(seed)
    model = models.build(MlpParams(hidden=(4,), activation="tanh"), (1, 2, 3), 3).double()
    return model, torch.randn(20, 1, 2, 3).double(), torch.randint(3, (20,))


def hessian(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """The whole matrix."""
    shapes = {name: each.shape for name, each in model.named_parameters()}
    sizes = [shape.numel() for shape in shapes.values()]

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split(sizes)
        weights = {n: p.view(s) for (n, s), p in zip(shapes.items(), parts, strict=True)}
        scores = functional_call(model, weights, (inputs,))
        return functional.cross_entropy(scores.float(), labels)

    flat = torch.cat([each.detach().flatten() for each in model.parameters()])
    return torch.autograd.functional.hessian(loss, flat)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_largest_of_the_explicit_hessian(seed: int) -> None:
    model, inputs, labels = small(seed)
    expected = torch.linalg.eigvalsh(hessian(model, inputs, labels))[-1].item()
    found = largest_eigenvalue(model, inputs, labels, seed=1, iterations=500, tolerance=1e-7)
    assert found == pytest.approx(expected, rel=1e-3)
    assert largest_eigenvalue(model, inputs, labels, seed=1) == pytest.approx(expected, rel=0.05)


def saddle() -> tuple[nn.Module, Tensor, Tensor]:
    """Confidently wrong with large hidden layers: the most negative eigenvalue is the largest."""
    for seed in range(100):
        model, inputs, labels = small(seed)
        with torch.no_grad():
            for each in model.parameters():
                each.mul_(2)
            labels = model(inputs).argmin(1)
        ends = torch.linalg.eigvalsh(hessian(model, inputs, labels))[[0, -1]]
        if -ends[0] > 1.2 * ends[1] > 0:
            return model, inputs, labels
    raise AssertionError("no saddle among the seeds")


def test_it_is_the_largest_where_a_negative_one_dominates() -> None:
    model, inputs, labels = saddle()
    expected = torch.linalg.eigvalsh(hessian(model, inputs, labels))[-1].item()
    found = largest_eigenvalue(model, inputs, labels, seed=1, iterations=1000, tolerance=1e-8)
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("diagonal", [[1.0, -0.999], [-5.0, 1.0, 0.1], [-1.0, -2.0], [0.0, 0.0]])
def test_it_does_not_lose_its_way_between_two_ends(diagonal: list[float], seed: int) -> None:
    matrix = torch.tensor(diagonal)
    random = torch.Generator().manual_seed(seed)
    start = [torch.randn(len(diagonal), generator=random)]
    found = _largest(lambda vector: [matrix * vector[0]], start, 50, 1e-3)
    assert found == pytest.approx(max(diagonal), rel=2e-3, abs=1e-6)


def test_scales_precondition_it() -> None:
    model, inputs, labels = small()
    scales = [torch.rand_like(each) for each in model.parameters()]
    s = torch.cat([each.flatten() for each in scales])
    matrix = s[:, None] * hessian(model, inputs, labels) * s
    expected = torch.linalg.eigvalsh(matrix)[-1].item()
    found = largest_eigenvalue(
        model, inputs, labels, seed=1, scales=scales, iterations=500, tolerance=1e-7
    )
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    "build",
    [
        lambda: models.build(ResnetParams(width=2), (1, 6, 6), 3),
        lambda: models.build(MlpParams(hidden=(8,), dropout=0.5), (1, 6, 6), 3),
    ],
    ids=["batch norm", "dropout"],
)
def test_a_seed_means_the_same_number_and_the_model_stays_as_it_was(
    build: Callable[[], nn.Module],
) -> None:
    torch.manual_seed(0)
    model, inputs, labels = build(), torch.randn(16, 1, 6, 6), torch.randint(3, (16,))
    functional.cross_entropy(model(inputs), labels).backward()

    def state() -> list[Tensor]:
        gradients = [each.grad for each in model.parameters()]
        return [each.clone() for each in [*model.state_dict().values(), *gradients]]

    before, stream = state(), torch.get_rng_state()
    first, second = (largest_eigenvalue(model, inputs, labels, seed=3) for _ in range(2))
    assert first == second > 0
    assert all(torch.equal(a, b) for a, b in zip(before, state(), strict=True))
    assert torch.equal(stream, torch.get_rng_state())
    assert all(each.training for each in model.modules())
    assert all(getattr(each, "track_running_stats", True) for each in model.modules())


def test_what_has_no_finite_curvature_is_nan() -> None:
    model, inputs, labels = small()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    found = largest_eigenvalue(model, inputs, labels, seed=0)
    assert found != found  # noqa: PLR0124 - what NaN alone does


def test_a_flat_loss_has_no_curvature() -> None:
    model, inputs, labels = small()
    scales = [torch.zeros_like(each) for each in model.parameters()]
    assert largest_eigenvalue(model, inputs, labels, seed=0, scales=scales) == 0
