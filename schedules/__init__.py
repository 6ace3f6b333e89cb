"""Learning-rate policies as pure functions of the iteration, and what a range test says."""

from typing import Annotated, get_args

from pydantic import Field

from schedules.constant import Constant
from schedules.cyclical import ExpRange, Triangular, Triangular2
from schedules.schedule import Schedule

Policy = Annotated[Constant | Triangular | Triangular2 | ExpRange, Field(discriminator="policy")]
"""Every schedule a training may name, told apart by `policy`."""

POLICIES: tuple[type[Schedule], ...] = get_args(get_args(Policy)[0])
"""The same policies, to iterate over: the catalogue and the documentation are made from it."""

__all__ = ["POLICIES", "Constant", "ExpRange", "Policy", "Schedule", "Triangular", "Triangular2"]
