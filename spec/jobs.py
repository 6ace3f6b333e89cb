"""What a client asks for: a range test or a training."""

from typing import Annotated, Literal

from pydantic import (
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from schedules import Policy
from schedules.ramp import Ramp
from schedules.values import MAX_ITERATIONS, Epochs, UnresolvedError, Value
from spec.compute import Clipping, Loader, Precision
from spec.groups import LrGroups
from spec.lengths import InCycles, InIterations, Interval, Length
from spec.needs import Needs
from spec.transforms import Transform
from spec.values import Component, Identifier, JobId, Seed, Text

SPEC_VERSION = 1
"""Stored beside each spec, so that an old one can be read by newer code."""

MAX_SECONDS = 366 * 86_400

Measure = Literal["accuracy", "grad_norm", "probe_loss"]
Check = Literal["curvature", "line_search"]
TAG_KEY = r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,62}$"
TAG = TAG_KEY.removesuffix("$") + r":[^\x00-\x1f\x7f]{0,200}$"
"""A tag with its value, as lists are asked for it."""

TagKey = Annotated[str, StringConstraints(pattern=TAG_KEY)]


class Evaluate(Value):
    """When a training is measured on the validation split; always at its end as well."""

    every: Interval


class _Job(Value):
    """What both kinds of jobs have in common."""

    name: Text | None = None
    model: Component
    data: Component
    batch_size: Annotated[int, Field(strict=True, ge=1, le=10_000_000)]
    transforms: Annotated[
        tuple[Transform, ...],
        Field(
            max_length=8,
            description="of the images that are trained on, in this order, drawn anew each time",
            exclude_if=lambda value: not value,
        ),
    ] = ()
    optimizer: Component
    criterion: Annotated[
        Component | None,
        Field(
            description="the loss that is trained on; unset: cross-entropy",
            exclude_if=lambda value: value is None,
        ),
    ] = None
    metrics: Annotated[
        tuple[Component, ...],
        Field(
            max_length=8,
            description="to measure at each evaluation, beside loss and accuracy",
            exclude_if=lambda value: not value,
        ),
    ] = ()
    lr_groups: LrGroups | None = None
    record: Annotated[
        tuple[Measure, ...],
        Field(max_length=8, description="series to record besides loss and lr"),
    ] = ()
    seed: Seed = 0
    precision: Annotated[
        Precision,
        Field(description="of matrix products: tf32 on a GPU, bf16 by autocast; weights are fp32"),
    ] = "fp32"
    compile: Annotated[
        bool,
        Field(strict=True, description="compile the model; losses then match to rounding"),
    ] = False
    channels_last: Annotated[
        bool,
        Field(strict=True, description="keep images as NHWC; losses then match to rounding"),
    ] = False
    cuda_graphs: Annotated[
        bool,
        Field(strict=True, description="replay each update as one launch where a GPU can"),
    ] = True
    accumulation: Annotated[
        int,
        Field(strict=True, ge=1, le=1024, description="parts that each batch is computed in"),
    ] = 1
    clipping: Clipping | None = None
    threads: Annotated[
        int | None,
        Field(strict=True, ge=1, le=1024, description="on a CPU; unset: what pays for the job"),
    ] = None
    processes: Annotated[
        int | None,
        Field(
            strict=True,
            ge=1,
            le=64,
            description="that share each batch, on one machine; unset: one for each GPU of `needs`;"
            " losses match to rounding",
        ),
    ] = None
    loader: Annotated[
        Loader | None,
        Field(description="how to stream data; unset: it is kept on the device where it fits"),
    ] = None
    population: Annotated[
        bool,
        Field(
            strict=True,
            description="train in one program with runs that differ in hyperparameters only;"
            " losses then match to rounding",
        ),
    ] = False
    max_seconds: Annotated[
        float | None,
        Field(
            gt=0,
            le=MAX_SECONDS,
            description="of running, over all attempts, after which the job fails with 'timeout'",
        ),
    ] = None
    tags: Annotated[dict[TagKey, Text], Field(max_length=32)] = Field(default_factory=dict)
    priority: Annotated[
        int,
        Field(strict=True, ge=-1000, le=1000, description="higher runs first"),
    ] = 0
    queue: Identifier = "default"
    needs: Annotated[
        Needs | None, Field(description="of the worker that runs it; unset: any of the queue")
    ] = None

    @property
    def ranks(self) -> int:
        """How many processes share each batch."""
        return self.processes or max(1, self.needs.gpus if self.needs else 1)


class Ramping(Value):
    """How a range test is run, whatever it is of."""

    range: Ramp = Ramp()
    repeats: Annotated[
        int,
        Field(strict=True, ge=1, le=64, description="runs over seeds derived from `seed`"),
    ] = 3
    extensions: Annotated[
        int,
        Field(
            strict=True,
            ge=0,
            le=2,
            description="how often the ramp may go on to ten times its end to find an edge",
        ),
    ] = 2
    loss: Annotated[
        Literal["batch", "probe", "validation"],
        Field(
            description="the loss that is read: of each batch before its update, or after it that"
            " of one fixed batch, or of the validation split as often as `evaluate` says"
        ),
    ] = "batch"
    evaluate: Evaluate | None = None
    checks: Annotated[
        tuple[Check, ...],
        Field(max_length=2, description="second opinions on the edge, which make `agreement`"),
    ] = ()


class RangeTestSpec(Ramping, _Job):
    """A learning-rate range test: train while the rate climbs, and see where the loss turns."""

    kind: Literal["range_test"]


class Snapshots(Value):
    """The weights at the end of each cycle, evaluated, and averaged as an ensemble.

    Source: Huang et al., arXiv 1704.00109.
    """

    at: Literal["cycle_end"] = "cycle_end"
    average_last: Annotated[
        int,
        Field(strict=True, ge=1, le=64, description="snapshots whose softmax is averaged"),
    ] = 5
    curvature: Annotated[
        bool,
        Field(strict=True, description="measure each one's largest Hessian eigenvalue"),
    ] = False


class Origin(Value):
    """The checkpoint of another training that a training begins with."""

    job: Annotated[JobId, Field(pattern=r"^job_[0-9a-z]{1,60}$")]
    iteration: Annotated[
        int | None,
        Field(strict=True, ge=1, le=2**53, description="of the checkpoint; unset: the last one"),
    ] = None


class TrainingSpec(_Job):
    """A training under a learning-rate schedule."""

    model_config = ConfigDict(serialize_by_alias=True)

    kind: Literal["training"]
    origin: Annotated[
        Origin | None,
        Field(
            alias="from",
            description="go on from a checkpoint of another training of the same model, data,"
            " batch size, seed and kind of optimizer",
        ),
    ] = None
    schedule: Policy
    length: Length
    evaluate: Evaluate | None = None
    snapshots: Literal["cycle_end"] | Snapshots | None = None

    @field_validator("length")
    @classmethod
    def _whole_cycles(cls, length: Length, info: ValidationInfo) -> Length:
        schedule = info.data.get("schedule")
        if not isinstance(length, InCycles) or schedule is None:
            return length
        try:
            total = schedule.cycle_end(length.cycles)
        except UnresolvedError:
            return length
        if total is None:
            raise PydanticCustomError(
                "length",
                "policy '{policy}' has no {cycles} cycles of its own; give iterations or epochs",
                {"policy": schedule.policy, "cycles": length.cycles, "field": "cycles"},
            )
        if total > MAX_ITERATIONS:
            raise PydanticCustomError(
                "length",
                "makes more iterations than the limit of {limit}",
                {"limit": MAX_ITERATIONS, "field": "cycles"},
            )
        return length

    @field_validator("snapshots")
    @classmethod
    def _at_cycle_ends(
        cls, snapshots: Literal["cycle_end"] | Snapshots | None, info: ValidationInfo
    ) -> Literal["cycle_end"] | Snapshots | None:
        schedule = info.data.get("schedule")
        if snapshots is not None and schedule is not None and not schedule.has_cycles:
            raise PydanticCustomError(
                "snapshots",
                "are taken at the ends of cycles, and policy '{policy}' has none",
                {"policy": schedule.policy},
            )
        return snapshots

    def warnings(self) -> list[str]:
        """What is odd about the schedule; nothing while a count or the length is in epochs."""
        if self.schedule.in_epochs() or isinstance(self.length, Epochs):
            return []
        return self.schedule.warnings(self.iterations(iterations_per_epoch=1))

    def iterations(self, *, iterations_per_epoch: int) -> int:
        """The number of updates; the schedule must be resolved when the length is in cycles."""
        match self.length:
            case InIterations(iterations=n):
                return n
            case Epochs() as epochs:
                return epochs.iterations(iterations_per_epoch)
            case InCycles(cycles=n):
                return self.schedule.cycle_end(n) or 0


JobSpec = Annotated[RangeTestSpec | TrainingSpec, Field(discriminator="kind")]
"""Any job, told apart by `kind`."""

JOB_SPEC: TypeAdapter[RangeTestSpec | TrainingSpec] = TypeAdapter(JobSpec)
"""Parses and validates a job spec."""
