"""The training engine: runs one job with PyTorch and yields its numbers; knows no SQL, no queue."""

from worker.engine.comparing import ALONE, Comparing
from worker.engine.errors import EngineError
from worker.engine.events import (
    Block,
    Checkpoint,
    Columns,
    Event,
    Finished,
    Plan,
    Snapshot,
    Standing,
    State,
)
from worker.engine.job import run
from worker.engine.loop import Pace
from worker.engine.population.run import run_population
from worker.engine.population.size import population_size
from worker.engine.state import VERSION as STATE_VERSION

__all__ = [
    "ALONE",
    "STATE_VERSION",
    "Block",
    "Checkpoint",
    "Columns",
    "Comparing",
    "EngineError",
    "Event",
    "Finished",
    "Pace",
    "Plan",
    "Snapshot",
    "Standing",
    "State",
    "population_size",
    "run",
    "run_population",
]
