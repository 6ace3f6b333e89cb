"""Updates as CUDA graphs: launched at once instead of kernel by kernel.

A small model's update is a few dozen kernels of a few microseconds each; the processor takes
longer to launch them than the GPU to run them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from schedules import Hypergradient
from spec.conflicts import within
from spec.jobs import RangeTestSpec, TrainingSpec
from worker.engine.splits import Split
from worker.engine.step import Outcome, Step

WARM_UP = 3
"""Updates before the one that is recorded: they make the optimizer's state and torch's caches."""

Recorded = Callable[[Callable[[], Outcome]], Callable[[], Outcome]]
"""From what makes an update to what makes it again."""


class Replayed:
    """Makes updates as `Step` does; all but the first few are replayed from a recorded one.

    The rate is on the device, and so in single precision.
    """

    def __init__(self, step: Step, optimizer: torch.optim.Optimizer, record: Recorded) -> None:
        self._step = step
        self._record = record
        self._groups = optimizer.param_groups
        device = self._groups[0]["params"][0].device
        self._rates = [torch.zeros((), device=device) for _ in self._groups]
        self._made = 0
        self._batch: Split | None = None

    def __call__(
        self,
        batch: Split,
        lr: float,
        momentum: float | None = None,
        adapt: Callable[[float], Tensor] | None = None,
    ) -> Outcome:
        """Update the model on a batch; only the rate may change from one to the next."""
        if momentum is not None or adapt is not None:
            raise ValueError("a recorded update has the momentum and the rule it was recorded with")
        for group, rate in zip(self._groups, self._rates, strict=True):
            group["lr"] = rate.fill_(lr * group["factor"])
        if self._made < WARM_UP:
            self._made += 1
            return self._step.make(batch)
        if self._batch is None:
            fixed = self._batch = Split(batch.inputs.clone(), batch.labels.clone())
            self._replay = self._record(lambda: self._step.make(fixed))
        else:
            self._batch.inputs.copy_(batch.inputs)
            self._batch.labels.copy_(batch.labels)
        return self._replay()


@dataclass(frozen=True)
class Graph:
    """Records an update as a CUDA graph; `masks` is what dropout draws from."""

    masks: torch.Generator

    def __call__(self, update: Callable[[], Outcome]) -> Callable[[], Outcome]:
        """Nothing is computed while recording."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.masks)
        # a loader's thread may be pinning memory meanwhile
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            outcome = update()

        def replay() -> Outcome:
            graph.replay()
            return outcome

        return replay


def obstacles(spec: RangeTestSpec | TrainingSpec, *, fused: bool) -> Iterator[str]:
    """Why the updates of the job cannot be recorded; `fused`: whether its optimizer is."""
    if not fused:
        yield f"{spec.optimizer.name} has no fused kernel"
    if spec.ranks > 1:
        yield "several processes compute them"
    if isinstance(spec, RangeTestSpec):
        return
    schedules = [schedule for _, schedule in within("/schedule", spec.schedule)]
    if any(isinstance(each, Hypergradient) for each in schedules):
        yield "the learning rate is learned"
    if any(getattr(each, "max_momentum", None) is not None for each in schedules):
        yield "the momentum is cycled"
