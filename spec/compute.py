"""How a job is to be computed: precision, clipping, loading."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schedules.values import Value

Precision = Literal["fp32", "tf32", "bf16"]
Limit = Annotated[float, Field(strict=True, gt=0, le=1e30)]


class Clipping(Value):
    """Gradients are scaled down to a norm over all of them, or each number is clamped."""

    norm: Annotated[Limit | None, Field(description="the largest L2 norm of all gradients")] = None
    value: Annotated[Limit | None, Field(description="the largest magnitude of a number")] = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "Clipping":
        if (self.norm is None) == (self.value is None):
            raise PydanticCustomError("clipping", "must have exactly one of norm, value")
        return self


class Loader(Value):
    """A PyTorch DataLoader, for data that does not fit on the device: batches come as a stream."""

    workers: Annotated[
        int,
        Field(strict=True, ge=0, le=64, description="processes that read; 0: the job's own"),
    ] = 2
    prefetch: Annotated[
        int,
        Field(strict=True, ge=1, le=64, description="batches that each of them is ahead"),
    ] = 2
