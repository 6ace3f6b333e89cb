"""What TensorBoard and MLflow read back of exported jobs: every iteration, once."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepsize import StepsizeError, exporting, to_mlflow, to_tensorboard
from stepsize.exporting import hyperparameters, tags
from tests.recorded import Recorded, checked, falling, range_test, training

N = 1234


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    monkeypatch.setattr(exporting, "BLOCK", 500)
    recorded = Recorded()
    recorded.add(
        training("job_1", progress={"iteration": N, "iterations": N}),
        [falling(N), checked(600, 1234)],
    )
    recorded.add(range_test("job_2"), [falling(100)], [falling(90)])
    return recorded


def running(server: Recorded, done: int) -> None:
    """The training as it was after so many iterations."""
    job = training(
        "job_1", state="running", progress={"iteration": done, "iterations": N}, result=None
    )
    server.add(job | {"finished_at": None}, [falling(done), checked()])


def finish(server: Recorded) -> None:
    job = training("job_1", progress={"iteration": N, "iterations": N})
    server.add(job, [falling(N), checked(600, 1234)])


def test_settings_and_tags_are_flat(server: Recorded) -> None:
    job = server.client().job("job_1")
    settings = hyperparameters(job)
    assert settings["optimizer.params.momentum"] == 0.9
    assert settings["model.params.hidden"] == "[64]"
    assert settings["schedule.policy"] == "constant"
    assert not any(name.startswith("tags") for name in settings)
    assert tags(job) == {"job": "job_1", "kind": "training", "project": "demo"}


def test_no_more_than_a_block_is_in_memory(server: Recorded) -> None:
    client = server.client()
    job = client.job("job_1")
    for group in exporting.groups(client, job):
        sizes = [len(rows) for rows in exporting.blocks(client, job, group, start=0)]
        assert max(sizes) <= 500
        assert sum(sizes) == (2 if "val_loss" in group.names else N)


def scalars(folder: Path) -> dict[str, Any]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    read = {tag: found.Scalars(tag) for tag in found.Tags()["scalars"]}
    return read | {tag: found.Tensors(tag) for tag in found.Tags()["tensors"]}


def test_tensorboard_reads_every_iteration(server: Recorded, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    client = server.client()
    run = to_tensorboard.export(client, client.job("job_1"), tmp_path)
    found = scalars(run)
    assert [each.step for each in found["loss"]] == list(range(N))
    np.testing.assert_allclose([e.value for e in found["loss"]], falling(N)["loss"], rtol=1e-6)
    assert [each.step for each in found["val_loss"]] == [600, 1234]
    assert found["result/val_accuracy"][0].value == pytest.approx(0.9)
    (spec,) = found["spec"]
    assert '"momentum": 0.9' in spec.tensor_proto.string_val[0].decode()
    times = [each.wall_time for each in found["loss"]]
    assert times == sorted(times)

    from tensorboard.plugins.hparams import plugin_data_pb2  # noqa: PLC0415 - where it is

    accumulator = sys.modules["tensorboard.backend.event_processing.event_accumulator"]
    events = accumulator.EventAccumulator(str(run))
    events.Reload()
    about = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    started = plugin_data_pb2.HParamsPluginData.FromString(about).session_start_info
    assert started.hparams["optimizer.params.momentum"].number_value == 0.9
    assert started.hparams["tag.project"].string_value == "demo"


def test_each_repeat_is_a_run_of_tensorboard(server: Recorded, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    client = server.client()
    run = to_tensorboard.export(client, client.job("job_2"), tmp_path)
    assert [len(scalars(run / f"repeat-{i}")["lr"]) for i in (1, 2)] == [100, 90]


def test_a_second_export_to_tensorboard_goes_on(server: Recorded, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    client = server.client()
    running(server, 700)
    run = to_tensorboard.export(client, client.job("job_1"), tmp_path)
    assert len(scalars(run)["loss"]) == 700
    (file,) = run.glob("events*")
    with file.open("ab") as cut:
        cut.write(b"of an export that was interrupted")
    finish(server)
    before = len(server.asked)
    assert to_tensorboard.export(client, client.job("job_1"), tmp_path) == run
    starts = [
        int(request.url.params["start"])
        for request in server.asked[before:]
        if request.url.params.get("names", "").startswith("loss")
    ]
    assert min(starts) == 700  # what is there is not asked for again
    once = file.read_bytes()
    to_tensorboard.export(client, client.job("job_1"), tmp_path)
    assert file.read_bytes() == once
    assert [each.step for each in scalars(run)["loss"]] == list(range(N))
    file.unlink()
    to_tensorboard.export(client, client.job("job_1"), tmp_path)
    assert len(scalars(run)["loss"]) == N
    state = run / "stepsize.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"job": "job_9"}))
    with pytest.raises(StepsizeError, match="is the run of job_9"):
        to_tensorboard.export(client, client.job("job_1"), tmp_path)


@pytest.fixture
def tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow with its runs in files."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow = pytest.importorskip("mlflow")
    return mlflow.MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())


@pytest.mark.filterwarnings("ignore")  # MLflow's own, of the packages that it uses
def test_mlflow_reads_every_iteration_once(server: Recorded, tracking: Any, tmp_path: Path) -> None:
    uri = (tmp_path / "mlruns").as_uri()
    client = server.client()
    running(server, 700)
    run_id = to_mlflow.export(client, client.job("job_1"), uri)
    assert tracking.get_run(run_id).info.status == "RUNNING"
    finish(server)
    for _ in range(2):
        assert to_mlflow.export(client, client.job("job_1"), uri) == run_id
    history = sorted(tracking.get_metric_history(run_id, "loss"), key=lambda each: each.step)
    assert [each.step for each in history] == list(range(N))
    np.testing.assert_allclose([each.value for each in history], falling(N)["loss"])
    assert len(tracking.get_metric_history(run_id, "lr")) == N
    assert [e.step for e in tracking.get_metric_history(run_id, "val_accuracy")] == [600, 1234]
    run = tracking.get_run(run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "digits")
    assert run.data.params["optimizer.params.momentum"] == "0.9"
    assert run.data.tags["project"] == "demo"
    assert run.data.metrics["result/val_loss"] == 0.25

    tested = to_mlflow.export(client, client.job("job_2"), uri, experiment="ranges")
    assert len(tracking.get_metric_history(tested, "repeat 2/loss")) == 90
    assert tracking.get_run(tested).data.metrics["result/max_lr"] == 0.1


@pytest.mark.parametrize(
    ("package", "export"),
    [
        ("tensorboard", lambda *job: to_tensorboard.export(*job, Path("unused"))),
        ("mlflow", lambda *job: to_mlflow.export(*job, "unused")),
    ],
)
def test_a_package_that_is_missing_is_named(
    server: Recorded,
    package: str,
    export: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [each for each in sys.modules if each.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    client = server.client()
    job = client.job("job_1")
    with pytest.raises(StepsizeError, match=rf"'stepsize\[{package}\]'"):
        export(client, job)
