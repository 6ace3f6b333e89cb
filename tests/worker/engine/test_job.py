"""What surrounds every job: its time, and a second chance without the data of earlier ones."""

from pathlib import Path

import pytest
import torch

from spec.components import DigitsParams
from spec.states import Reason
from tests.worker.engine.conftest import RANGE_TEST, TRAINING, Record, Start
from worker.engine import EngineError, Finished, Pace, job, memory
from worker.engine.data import load

AUTO = TRAINING | {
    "schedule": {"policy": "auto", "range": {"start": 1e-4, "end": 100.0, "iterations": 100}}
}


@pytest.mark.parametrize(
    "spec", [TRAINING, RANGE_TEST, AUTO], ids=["training", "range test", "auto"]
)
def test_the_seconds_are_the_engines_own(
    start: Start, monkeypatch: pytest.MonkeyPatch, spec: dict[str, object]
) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1  # each look at the clock takes a second, and so does what lies between two
        return now

    monkeypatch.setattr(job, "perf_counter", clock)
    events = start(spec, pace=Pace(points=10))
    taken = []
    for event in events:
        taken.append(event)
        now += 1000  # whoever takes the event is slow
    assert isinstance(taken[-1], Finished)
    assert taken[-1].result["seconds"] == len(taken) - 1


def test_data_of_earlier_jobs_make_room(
    train: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load.cache_clear()
    load(DigitsParams(), device=torch.device("cpu"), data_dir=tmp_path)
    monkeypatch.setattr(
        memory, "available", lambda _: 1 << 40 if load.cache_info().currsize < 2 else 1000
    )
    ours = train(data={"name": "synthetic", "params": {"examples": 100}})
    assert ours.result["iterations"] == 50
    monkeypatch.setattr(memory, "available", lambda _: 1000)
    with pytest.raises(EngineError, match=r"needs about 0\.0000\d\d GB") as refused:
        train()
    assert refused.value.reason is Reason.OOM
