"""The training engine: runs one job with PyTorch and yields its numbers; knows no SQL, no queue."""

from worker.engine.errors import EngineError
from worker.engine.events import Block, Columns, Event, Finished, Plan, Snapshot
from worker.engine.job import run
from worker.engine.loop import Pace
from worker.engine.population.run import run_population
from worker.engine.population.size import population_size

__all__ = [
    "Block",
    "Columns",
    "EngineError",
    "Event",
    "Finished",
    "Pace",
    "Plan",
    "Snapshot",
    "population_size",
    "run",
    "run_population",
]
