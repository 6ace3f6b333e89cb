"""One update: forward, backward, clipping, and the optimizer's part."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from spec.compute import Clipping
from worker.engine.device import Numerics, compiled
from worker.engine.fused import updater
from worker.engine.optimizers import set_lr, set_momentum
from worker.engine.splits import Split

Forward = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Inputs and labels -> mean loss, scores (examples, classes); both in float32."""


@dataclass(frozen=True)
class Outcome:
    """What an update leaves behind, on the device.

    Attributes:
        loss: of the batch, before the update.
        scores: (examples, classes), before the update.
        grad_norm: L2, over all parameters, before clipping; None where nobody asked.
        lr: the rate of this update where only the device knows it.
    """

    loss: Tensor
    scores: Tensor
    grad_norm: Tensor | None
    lr: Tensor | None


class Step:
    """Makes updates of one model; the results never wait for the device."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        numerics: Numerics,
        *,
        parts: int = 1,
        clipping: Clipping | None = None,
        norm: bool = False,
        shared: bool = False,
    ) -> None:
        """`parts`: of a batch, computed one after the other; `norm`: whether it is recorded.

        `shared`: other processes compute the same part of other examples, and the gradients are the
        means of all.
        """
        self._parameters = [each for each in model.parameters() if each.requires_grad]
        self._optimizer = optimizer
        self._update = updater(optimizer)
        self._replica = _replica(model, numerics) if shared else None
        self._forward = _forward(self._replica or model, numerics)
        self._parts = parts
        self._clipping = clipping
        self._norm = norm or (clipping is not None and clipping.norm is not None)

    def __call__(
        self,
        batch: Split,
        lr: float,
        momentum: float | None = None,
        adapt: Callable[[float], Tensor] | None = None,
    ) -> Outcome:
        """Update the model on a batch.

        `adapt` is given the rate of the schedule once the gradients are there, writes the rate of
        this very update into the optimizer and returns it.
        """
        if momentum is not None:
            set_momentum(self._optimizer, momentum)
        if adapt is not None:
            return self.make(batch, lambda: adapt(lr))
        set_lr(self._optimizer, lr)
        return self.make(batch)

    def make(self, batch: Split, adapt: Callable[[], Tensor] | None = None) -> Outcome:
        """Make the update with the rate and momentum that the optimizer has."""
        loss, scores = self._backward(batch)
        norm = self._clip()
        used = None if adapt is None else adapt()
        self._update()
        for each in self._parameters:
            each.grad = None
        return Outcome(loss, scores, norm, used)

    def _backward(self, batch: Split) -> tuple[Tensor, Tensor]:
        if self._parts == 1:
            loss, scores = self._forward(batch.inputs, batch.labels)
            torch.autograd.backward(loss)
            return loss.detach(), scores.detach()
        size = len(batch) // self._parts
        done: list[tuple[Tensor, Tensor]] = []
        for inputs, labels in zip(
            torch.split(batch.inputs, size), torch.split(batch.labels, size), strict=True
        ):
            with self._apart(last=len(done) + 1 == self._parts):
                loss, scores = self._forward(inputs, labels)
                torch.autograd.backward(loss / self._parts)
            done.append((loss.detach(), scores.detach()))
        losses, parts = zip(*done, strict=True)
        return torch.stack(losses).mean(), torch.cat(parts)

    def _apart(self, *, last: bool) -> AbstractContextManager[None]:
        """Where other processes compute too, only the last part's gradients are sent, with all."""
        return nullcontext() if self._replica is None or last else self._replica.no_sync()

    def _clip(self) -> Tensor | None:
        """Clip the gradients, and return the norm that they had."""
        if not self._norm and self._clipping is None:
            return None
        gradients = [each.grad for each in self._parameters if each.grad is not None]
        norm = nn.utils.get_total_norm(gradients) if self._norm else None
        match self._clipping:
            case Clipping(norm=float(limit)) if norm is not None:
                nn.utils.clip_grads_with_norm_(self._parameters, limit, norm)
            case Clipping(value=float(limit)):
                nn.utils.clip_grad_value_(self._parameters, limit)
        return norm


def _replica(model: nn.Module, numerics: Numerics) -> DistributedDataParallel:
    """The model as one of several; batch norm's buffers are each process's own."""
    devices = [numerics.device] if numerics.device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices, forward_sync_buffers=False)


def _forward(model: nn.Module, numerics: Numerics) -> Forward:
    def forward(inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with numerics.autocast():
            scores = model(inputs).float()
        return functional.cross_entropy(scores, labels), scores

    return compiled(forward) if numerics.compile else forward
