"""When checkpoints come, what is in them, and which states are refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from spec.jobs import JOB_SPEC
from spec.states import Reason
from tests.worker.engine.checkpoints import (
    EVALUATED,
    MOMENTUM,
    OFTEN,
    TEST,
    TINY,
    TRIANGULAR,
    Told,
    first_checkpoint,
    optimizer,
    through_bytes,
    told,
)
from tests.worker.engine.conftest import CPU
from worker.engine import Block, Checkpoint, EngineError, Finished, Plan, run


def test_a_checkpoint_comes_after_all_that_belongs_to_its_iteration() -> None:
    job = TINY | {"schedule": TRIANGULAR, "snapshots": "cycle_end"}
    job |= {"evaluate": {"every": {"iterations": 10}}}
    kinds = [type(each).__name__ for each in told(job).events]
    expected = ["Plan"]
    for iteration in range(10, 61, 10):
        expected += ["Block", "Block", "Block"]  # of which the last is the evaluation
        expected += ["Snapshot", "Checkpoint"] if iteration % 20 == 0 else []
    assert kinds == [*expected, "Finished"]


def test_one_that_is_due_is_asked_for_once_a_block() -> None:
    asked: list[int] = []
    events = list(
        run(
            JOB_SPEC.validate_python(TINY | EVALUATED),
            device=CPU,
            data_dir=Path(),
            pace=OFTEN,
            due=lambda: bool(asked.append(1)),
        )
    )
    blocks = [each for each in events if isinstance(each, Block) and each.series == "train"]
    assert len(asked) == len(blocks)
    last = events[-2]
    assert isinstance(last, Checkpoint)
    assert (last.iteration, last.lasting) == (60, False)
    assert sum(isinstance(each, Checkpoint) for each in events) == 1


def test_nothing_is_gathered_where_none_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    gathered = []
    real = nn.Module.state_dict
    monkeypatch.setattr(
        nn.Module, "state_dict", lambda *args, **kw: (gathered.append(1), real(*args, **kw))[1]
    )
    told(TINY)
    ours = len(gathered)
    gathered.clear()
    told(TINY, stops=[30])
    assert 0 < ours < len(gathered)


@pytest.mark.parametrize(
    ("cycles", "kept"), [(3, [1, 2, 3]), (20, [*range(1, 21)]), (45, [*range(3, 46, 3)])]
)
def test_those_at_the_ends_of_cycles_last(cycles: int, kept: list[int]) -> None:
    schedule = TRIANGULAR | {"step_size": 2}
    ours = told(TINY | {"schedule": schedule, "length": {"iterations": 4 * cycles + 1}})
    assert [each.iteration for each in ours.checkpoints if each.lasting] == [4 * n for n in kept]
    assert [each.iteration for each in ours.checkpoints if not each.lasting] == [4 * cycles + 1]


def test_a_cycle_that_ends_with_the_training_makes_one_that_lasts() -> None:
    (last,) = told(TINY | {"schedule": TRIANGULAR | {"step_size": 30}}).checkpoints
    assert (last.iteration, last.lasting) == (60, True)


def test_a_training_that_diverges_leaves_none_at_its_end() -> None:
    gone = {"schedule": {"policy": "constant", "lr": 1e6}, "length": {"iterations": 200}}
    nan = told(TINY | gone | {"model": {"name": "mlp", "params": {"hidden": [16, 16]}}})
    assert nan.result["iterations"] < 200
    worse = told(TINY | {"schedule": {"policy": "constant", "lr": 10.0}} | MOMENTUM)
    assert worse.result["iterations"] == 60
    for each in (nan, worse):
        assert each.result["diverged_at"] is not None
        assert not each.checkpoints


def test_from_the_last_one_there_is_nothing_left_but_the_result() -> None:
    whole = told(TINY)
    saved = through_bytes(whole.checkpoints[-1].state)
    plan, finished = told(TINY, resume=saved).events
    assert isinstance(plan, Plan)
    assert isinstance(finished, Finished)
    assert plan.start == 60
    assert Told([finished]).result == whole.result


def test_seconds_are_those_of_all_attempts() -> None:
    spec = JOB_SPEC.validate_python(TINY)
    (state,) = (each.state for each in told(TINY).checkpoints)
    state = through_bytes(state) | {"seconds": 1000.0}
    *_, finished = run(spec, device=CPU, data_dir=Path(), resume=state)
    assert isinstance(finished, Finished)
    assert 1000 < finished.result["seconds"] < 1001


def test_torchs_own_streams_go_on() -> None:
    torch.manual_seed(5)
    state = through_bytes(told(TINY).checkpoints[-1].state)
    expected = torch.rand(3)
    told(TINY, resume=state)
    assert torch.rand(3).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("job", "changes", "message"),
    [
        (TINY, {"version": 99}, "has layout 99, and this worker reads 1"),
        (TINY, {"training": {}}, "is incomplete or of another job"),
        (TEST, {}, "is not one of a range test"),
        (
            TINY | {"model": {"name": "mlp", "params": {"hidden": [17]}}},
            {},
            r"model's 1.bias is of shape \(16,\) there, and \(17,\) here",
        ),
        (TINY | {"model": {"name": "lenet"}}, {}, "0.bias is of shape None there"),
        (TINY | optimizer("adam"), {}, "the optimizer is sgd there, and adam here"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(
    job: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    state = through_bytes(told(TINY).checkpoints[-1].state) | changes
    with pytest.raises(EngineError, match=message) as refused:
        told(job, resume=state)
    assert refused.value.reason is Reason.INVALID


def test_a_range_tests_is_none_of_a_training() -> None:
    state = through_bytes(first_checkpoint(TEST).state)
    with pytest.raises(EngineError, match="is not one of a training"):
        told(TINY, resume=state)
