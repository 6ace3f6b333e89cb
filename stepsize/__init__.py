"""What people type: the `stepsize` command, and `Client` for scripts and notebooks."""

from stepsize.client import Client
from stepsize.errors import ApiError, StepsizeError, UnreachableError
from stepsize.events import End, Points
from stepsize.series import Columns, Series
from stepsize.specs import range_test, recipe, training
from stepsize.values import Job, Suggestion

__all__ = [
    "ApiError",
    "Client",
    "Columns",
    "End",
    "Job",
    "Points",
    "Series",
    "StepsizeError",
    "Suggestion",
    "UnreachableError",
    "range_test",
    "recipe",
    "training",
]
