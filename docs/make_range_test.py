# noqa: INP001 - a script, not a package
"""Draws docs/range-test-read.png, the range test that docs/range-test.md reads: half a minute."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from spec.jobs import JOB_SPEC
from stepsize import Client, Job
from stepsize.plots import figure
from stepsize.series import Series
from worker.engine import Block, Finished, run

PICTURE = Path(__file__).parent / "range-test-read.png"
JOB: dict[str, Any] = {
    "kind": "range_test",
    "name": "a range test",
    "model": {"name": "mlp", "params": {"hidden": [64]}},
    "data": {"name": "digits"},
    "batch_size": 32,
    "optimizer": {"name": "sgd", "params": {"momentum": 0.9}},
    "range": {"start": 1e-5, "end": 10.0, "iterations": 300, "ramp": "exponential"},
    "repeats": 3,
    "record": ["accuracy"],
    "checks": ["curvature", "line_search"],
}


@dataclass(frozen=True)
class Recorded:
    """Answers for its series as a client does."""

    blocks: list[Block]

    def series(self, job: Job, names: Sequence[str], *, points: int, repeat: int) -> Series:
        """Every row, of which there are no more than `points`."""
        blocks = [each for each in self.blocks if each.repeat == repeat]
        columns = {
            name: np.concatenate([each.columns[name] for each in blocks]).astype(np.float64)
            for name in names
        }
        rows = len(columns["lr"])
        if rows > points:
            raise ValueError("draw a shorter range test")
        columns["iteration"] = np.arange(rows)
        return Series(columns, job=job.id, total_points=rows, next_start=rows, complete=True)


def main() -> None:
    """Run it, and draw it as `Client.plot` does."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        events = list(
            run(JOB_SPEC.validate_python(JOB), device=torch.device("cpu"), data_dir=Path(folder))
        )
    finished = events[-1]
    if not isinstance(finished, Finished):
        raise TypeError("a job's last event is its end")
    job = Job.model_validate(
        {**JOB, "id": "job_1", "state": "succeeded", "spec": JOB, "result": finished.result}
    )
    recorded = Recorded([each for each in events if isinstance(each, Block)])
    picture = figure(cast("Client", recorded), job)
    picture.savefig(PICTURE, dpi=110, format="png")
    print(finished.result)  # noqa: T201 - to be quoted


if __name__ == "__main__":
    main()
