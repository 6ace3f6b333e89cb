"""A job that several processes share is, up to rounding, the job of one; here two on the CPU."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from spec.jobs import JOB_SPEC
from spec.states import Reason
from tests.plugins import Install, install  # noqa: F401 - a fixture
from tests.worker.engine.conftest import CPU, RANGE_TEST, TRAINING, Record, Start
from worker.engine import Block, Checkpoint, EngineError, Finished, Pace, run
from worker.engine.ranks import ONLY, Rank

TWO: dict[str, Any] = {"processes": 2}
CLOSE: dict[str, Any] = {"rtol": 2e-4, "atol": 1e-6}


def test_shares_of_a_batch_are_all_of_it() -> None:
    rows = torch.arange(24).view(2, 12)
    shares = [Rank(index, 3).of(rows, parts=2) for index in range(3)]
    assert shares[1].tolist() == [[2, 3, 8, 9], [14, 15, 20, 21]]
    assert sorted(torch.cat(shares, 1).flatten().tolist()) == list(range(24))
    assert ONLY.of(rows, parts=2) is rows


@pytest.mark.parametrize(
    "changes",
    [
        {
            "optimizer": {"name": "adamw"},
            "record": ["accuracy", "grad_norm"],
            "clipping": {"norm": 1.0},
            "accumulation": 2,
            "schedule": {
                "policy": "one_cycle",
                "max_lr": 0.01,
                "max_momentum": 0.95,
                "base_momentum": 0.85,
            },
            "evaluate": {"every": {"iterations": 20}},
        },
        {
            "model": {"name": "mlp", "params": {"hidden": [32], "dropout": 0.5}},
            "optimizer": {"name": "sgd_schedulefree", "params": {}},
            "evaluate": {"every": {"iterations": 10}},
            "loader": {"workers": 0},
        },
    ],
    ids=["accumulated", "dropout"],
)
def test_two_record_what_one_does(train: Record, changes: dict[str, Any]) -> None:
    one, two = train(**changes), train(**changes, **TWO)
    assert two.plan.notes["processes"] == 2
    for name in ("loss", "lr", *changes.get("record", ())):
        np.testing.assert_allclose(two.column(name), one.column(name), **CLOSE)
    np.testing.assert_allclose(two.column("val_loss"), one.column("val_loss"), **CLOSE)
    assert two.result["iterations"] == one.result["iterations"]
    assert not others()


def others() -> list[psutil.Process]:
    """The processes that compute with this one; a browser's driver may be there from before."""
    return [
        each for each in psutil.Process().children() if "worker.engine" in " ".join(each.cmdline())
    ]


def test_a_range_test_is_read_as_that_of_one(range_test: Record) -> None:
    one, two = range_test(), range_test(**TWO)
    for repeat in (0, 1):
        a, b = (each.column("loss", repeat=repeat) for each in (one, two))
        same = min(len(a), len(b)) // 2  # past its edge rounding grows without bounds
        np.testing.assert_allclose(b[:same], a[:same], **CLOSE)
    assert two.result["status"] == one.result["status"]


def test_batch_norm_says_what_it_goes_by(train: Record) -> None:
    resnet = {"name": "resnet", "params": {"depth": 8, "width": 4}}
    short = {"length": {"iterations": 3}, "model": resnet}
    shared, accumulated = train(**short, **TWO), train(**short, accumulation=2)
    assert any("batch norm goes by" in each for each in shared.plan.warnings)
    np.testing.assert_allclose(shared.column("loss"), accumulated.column("loss"), **CLOSE)


@pytest.mark.parametrize(("before", "after"), [(2, 2), (1, 2)])
def test_it_goes_on_from_a_checkpoint_with_any_number(
    train: Record, tmp_path: Path, before: int, after: int
) -> None:
    job = {"optimizer": {"name": "adam"}, "length": {"iterations": 40}}
    whole = train(**job)
    spec = JOB_SPEC.validate_python(TRAINING | job | {"processes": before})
    state, done = None, 0
    asked = iter([False, True])
    for event in run(
        spec, device=CPU, data_dir=tmp_path, pace=Pace(points=10), due=lambda: next(asked, False)
    ):
        if isinstance(event, Checkpoint):
            file = tmp_path / "state"
            torch.save(event.state, file)
            state, done = torch.load(file, weights_only=True), event.iteration
            break
    assert 0 < done < 40
    spec = JOB_SPEC.validate_python(TRAINING | job | {"processes": after})
    events = list(run(spec, device=CPU, data_dir=tmp_path, resume=state))
    rest = [each for each in events if isinstance(each, Block) and each.series == "train"]
    losses = np.concatenate([each.columns["loss"] for each in rest])
    np.testing.assert_allclose(losses, whole.column("loss")[done:], **CLOSE)
    assert isinstance(events[-1], Finished)


def test_one_that_is_killed_ends_the_job_and_leaves_nobody(start: Start) -> None:
    events = start(TRAINING, length={"iterations": 1_000_000}, **TWO)
    next(event for event in events if isinstance(event, Block))
    (other,) = others()
    other.send_signal(signal.SIGKILL)
    with pytest.raises(EngineError, match="process 2 of 2 of this job was killed by signal 9") as e:
        list(events)
    assert e.value.reason is Reason.WORKER_LOST
    assert not others()


def test_closing_the_job_ends_the_others(start: Start) -> None:
    events = start(TRAINING, length={"iterations": 1_000_000}, **TWO)
    next(event for event in events if isinstance(event, Block))
    (other,) = others()
    events.close()  # type: ignore[attr-defined]  # it is a generator
    assert not other.is_running()


def test_what_another_process_cannot_do_is_said_as_it_says_it(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'worker.engine.follower' in sys.orig_argv:\n"
        "    import torch\n"
        "    def fail(*_, **__): raise torch.OutOfMemoryError('too little')\n"
        "    torch.nn.Module.to = fail\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(EngineError, match="process 2 of 2: OutOfMemoryError: too little") as e:
        list(start(TRAINING, **TWO))
    assert e.value.reason is Reason.OOM


@pytest.mark.parametrize("error", ["KeyError", "SystemExit"])
def test_code_that_fails_in_all_of_them_is_not_taken_for_a_lost_process(
    start: Start,
    install: Install,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: str,
) -> None:
    code = f"def bad(scores, labels):\n    raise {error}('of the package')\n"
    install("lab", code, losses=["bad = lab:bad"])
    paths = [str(tmp_path / "site" / "lab"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    with pytest.raises(EngineError, match="of the package") as e:
        list(start(TRAINING, criterion={"name": "bad"}, **TWO))
    assert e.value.reason is Reason.CODE
    assert not others()


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_record_what_one_does(train: Record) -> None:
    cuda = torch.device("cuda:0")
    one = train(device=cuda, cuda_graphs=False)
    two = train(device=cuda, **TWO)
    np.testing.assert_allclose(two.column("loss"), one.column("loss"), **CLOSE)


def test_too_few_gpus_are_said(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(EngineError, match="2 need a GPU each, and this worker has 1"):
        next(start(RANGE_TEST, device=torch.device("cuda:0"), **TWO))
