"""Learning-rate policies as pure functions of the iteration, and what a range test says."""

from typing import Annotated, get_args

from pydantic import AfterValidator, Field

from schedules.auto import Auto, Direct, only_inside_auto
from schedules.constant import Constant
from schedules.cosine import Cosine, FlatCosine, Sgdr, Snapshot
from schedules.cyclical import ExpRange, Triangular, Triangular2
from schedules.decay import Exponential, Linear, Polynomial, Rex
from schedules.hypergradient import Hypergradient
from schedules.inverse_sqrt import InverseSqrt, Noam
from schedules.one_cycle import OneCycle
from schedules.piecewise import Piecewise
from schedules.plateau import Plateau
from schedules.schedule import Schedule
from schedules.slanted import SlantedTriangular
from schedules.steps import MultiStep, Step
from schedules.wsd import Wsd

Policy = Annotated[
    Annotated[Direct | Auto, Field(discriminator="policy")], AfterValidator(only_inside_auto)
]
"""Every schedule a training may name, told apart by `policy`."""

POLICIES: tuple[type[Schedule], ...] = get_args(Direct | Auto)
"""The same policies, to iterate over: the catalogue and the documentation are made from it."""

__all__ = [
    "POLICIES",
    "Auto",
    "Constant",
    "Cosine",
    "ExpRange",
    "Exponential",
    "FlatCosine",
    "Hypergradient",
    "InverseSqrt",
    "Linear",
    "MultiStep",
    "Noam",
    "OneCycle",
    "Piecewise",
    "Plateau",
    "Policy",
    "Polynomial",
    "Rex",
    "Schedule",
    "Sgdr",
    "SlantedTriangular",
    "Snapshot",
    "Step",
    "Triangular",
    "Triangular2",
    "Wsd",
]
