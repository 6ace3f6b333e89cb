"""The training engine: runs one job with PyTorch and yields its numbers; knows no SQL, no queue."""

from worker.engine.errors import EngineError
from worker.engine.events import Block, Columns, Event, Finished, Plan, Snapshot
from worker.engine.job import run
from worker.engine.loop import Pace

__all__ = [
    "Block",
    "Columns",
    "EngineError",
    "Event",
    "Finished",
    "Pace",
    "Plan",
    "Snapshot",
    "run",
]
