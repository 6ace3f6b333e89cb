"""What people type: the `stepsize` command, and `Client` for scripts and notebooks."""

from stepsize.client import Client
from stepsize.comparing import Comparison
from stepsize.errors import ApiError, StepsizeError, UnreachableError
from stepsize.events import End, Event, Points
from stepsize.judgments import Importances, Marginals, Pair, Pick, Ranking
from stepsize.series import Columns, Series
from stepsize.specs import range_test, recipe, sweep, training
from stepsize.sweep_values import Sweep, SweepPreview, SweepResult
from stepsize.values import Checkpoint, Job, JobPreview, Suggestion, Worker

__all__ = [
    "ApiError",
    "Checkpoint",
    "Client",
    "Columns",
    "Comparison",
    "End",
    "Event",
    "Importances",
    "Job",
    "JobPreview",
    "Marginals",
    "Pair",
    "Pick",
    "Points",
    "Ranking",
    "Series",
    "StepsizeError",
    "Suggestion",
    "Sweep",
    "SweepPreview",
    "SweepResult",
    "UnreachableError",
    "Worker",
    "range_test",
    "recipe",
    "sweep",
    "training",
]
