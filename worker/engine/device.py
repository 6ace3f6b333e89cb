"""How a job computes on its device: precision, matrix products, threads, determinism."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, Self, TypeVar

import torch
from pydantic import JsonValue
from torch import Tensor

from spec.compute import Precision
from spec.jobs import RangeTestSpec, TrainingSpec

Function = TypeVar("Function", bound=Callable[..., Any])

THREADS_FROM = 1 << 23
"""Floating-point operations of a forward pass from which it pays to share them among threads."""

ONEDNN_FROM = 1 << 20
"""Multiply-adds of one matrix product from which oneDNN's overhead per call is made up for."""

# torch's name for "oneDNN may round to bf16 if that pays": on most CPUs it never does
ONEDNN = "medium"
EXACT = "highest"


@dataclass(frozen=True)
class Numerics:
    """The numerical choices of a job; the same for the same job on the same machine."""

    device: torch.device
    precision: Precision
    matmul: str
    threads: int
    compile: bool = False
    channels_last: bool = False
    replay: bool = False

    @classmethod
    def choose(
        cls,
        device: torch.device,
        spec: RangeTestSpec | TrainingSpec,
        *,
        products: int,
        operations: int,
        replay: bool = False,
    ) -> Self:
        """The choices that the spec leaves open are made by the size of the job alone.

        `products`: multiply-adds in the job's largest matrix product; `operations`: floating-point
        ones in a forward pass; `replay`: whether its updates can be recorded.
        """
        matmul, threads = EXACT, torch.get_num_threads()
        if device.type == "cuda" and spec.precision == "tf32":
            matmul = "high"
        if device.type == "cpu":
            if products >= ONEDNN_FROM and onednn_is_exact():
                matmul = ONEDNN
            threads = threads if operations >= THREADS_FROM else 1
            if spec.threads is not None:
                threads = min(spec.threads, cores())
        return cls(
            device,
            spec.precision,
            matmul,
            threads,
            compile=spec.compile and no_compiler(device) is None,
            channels_last=spec.channels_last,
            replay=replay,
        )

    def autocast(self) -> AbstractContextManager[torch.autocast | None]:
        """The context of a forward pass; enter a new one each time, it caches the weights."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def notes(self) -> dict[str, JsonValue]:
        """What to remember about a job beside its spec."""
        notes: dict[str, JsonValue] = {"torch": str(torch.__version__), "device": str(self.device)}
        if self.device.type == "cpu":
            notes["threads"] = self.threads
            notes["matmul"] = "onednn" if self.matmul == ONEDNN else "default"
        if self.device.type == "cuda":
            notes["cuda_graphs"] = self.replay
            notes["device_name"] = torch.cuda.get_device_name(self.device)
        return notes

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Set torch's global state for the job, and put it back: one job per process at a time."""
        cudnn = torch.backends.cudnn
        matmul = torch.get_float32_matmul_precision()
        before = cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(self.threads)
            torch.set_float32_matmul_precision(self.matmul)
            cudnn.allow_tf32 = self.precision == "tf32"
            cudnn.deterministic, cudnn.benchmark = True, False
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_float32_matmul_precision(matmul)
            cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = before


def compiled(function: Function, backend: Any = "inductor") -> Function:
    """The function compiled for arguments of one shape, apart from all others.

    Functions that were made by the same code would share a limit of eight, past which torch stops
    compiling and says so in its log alone.
    """
    made: Function = torch.compile(
        function,
        dynamic=False,
        backend=backend,
        isolate_recompiles=True,  # type: ignore[call-overload]  # not in the stubs
    )
    return made


def cores() -> int:
    """How many this process may compute on."""
    return len(os.sched_getaffinity(0))


def no_compiler(device: torch.device) -> str | None:
    """Why nothing can be compiled for the device; None where it can."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton  # noqa: PLC0415 - slow to import

        return None if has_triton() else "Triton is not installed"
    from torch._inductor.cpp_builder import get_cpp_compiler  # noqa: PLC0415 - as above
    from torch._inductor.exc import InvalidCxxCompiler  # noqa: PLC0415 - as above

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "there is no C++ compiler (install g++)"
    return None


@cache
def onednn_is_exact() -> bool:
    """Whether oneDNN's matrix products keep fp32's accuracy on this CPU.

    They are up to twice as fast as the default on some, and round to bf16 on others. Decided by
    the error alone, so that every run of a machine decides alike.
    """
    before = torch.get_float32_matmul_precision()
    try:
        errors = {}
        for setting in (EXACT, ONEDNN):
            torch.set_float32_matmul_precision(setting)
            errors[setting] = max(_error(*shape) for shape in ((200, 784, 784), (256, 512, 64)))
    finally:
        torch.set_float32_matmul_precision(before)
    return errors[ONEDNN] <= 4 * errors[EXACT]


def _error(m: int, k: int, n: int) -> float:
    """Largest relative error, against float64, of an (m, k) by (k, n) product in all layouts."""
    random = torch.Generator().manual_seed(0)

    def matrix(rows: int, columns: int) -> Tensor:
        return torch.randn(rows, columns, generator=random)

    errors = []
    for a, b in product((matrix(m, k), matrix(k, m).T), (matrix(k, n), matrix(n, k).T)):
        exact = a.double() @ b.double()
        errors.append(float(((a @ b).double() - exact).norm() / exact.norm()))
    return max(errors)
