"""Jobs and sweeps that act by themselves, and their numbers in the tables of others."""

import copy
import pickle
import sys
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

import stepsize
from spec.jobs import RangeTestSpec, TrainingSpec
from spec.sweeps import SweepSpec
from stepsize import Client, Job, StepsizeError, Sweep, sweep
from stepsize.reading import MANY
from stepsize.series import Columns
from stepsize.specs import RangeTestFields, SweepFields, TrainingFields
from stepsize.sweep_values import Best
from tests.recorded import Recorded, checked, falling, training


@pytest.fixture
def server() -> Recorded:
    recorded = Recorded()
    recorded.add(training(), [falling(300), checked(100, 200, 300)])
    return recorded


def test_a_job_acts_as_its_client_would(server: Recorded) -> None:
    job = server.client().job("job_t")
    assert job.wait().succeeded
    assert len(job.series("loss")) == 300
    assert {each.name for each in job.summary()} == {"loss", "lr", "val_loss", "val_accuracy"}
    for act in (job.refresh, job.cancel, job.pause, job.resume, job.retry):
        assert act().id == "job_t"
    paths = [request.url.path.rpartition("/")[2] for request in server.asked[-4:]]
    assert paths == ["cancel", "pause", "resume", "retry"]
    assert job.retry().series("loss", points=10).loss[0] > 2  # what it answers acts too


def test_a_job_elsewhere_is_a_value_alone(server: Recorded) -> None:
    job = server.client().job("job_t")
    assert copy.deepcopy(job).wait().succeeded
    alone = pickle.loads(pickle.dumps(job))
    assert alone.model_dump() == job.model_dump()
    with pytest.raises(StepsizeError, match=r"Client\(\)\.job\('job_t'\)"):
        alone.wait()
    with pytest.raises(StepsizeError, match="a value alone"):
        Job(id="job_1", kind="training", state="queued").series()


@pytest.mark.parametrize("rows", [MANY, MANY + 1])
def test_many_rows_travel_as_arrow_and_are_the_same(rows: int) -> None:
    server = Recorded()
    line: dict[str, Any] = dict(falling(rows))
    line["loss"] = line["loss"].astype(np.float32)
    line["loss"][7] = np.inf
    server.add(training(), [line])
    series = server.client().series("job_t", ("loss", "lr"))
    accepted = [request.headers.get("accept", "") for request in server.asked]
    assert any("arrow" in each for each in accepted) == (rows > MANY)
    assert (len(series), series.total_points, series.next_start) == (rows, rows, rows)
    assert series.complete
    assert np.isnan(series.loss[7])
    assert (series.iteration.dtype, series.loss.dtype) == (np.int64, np.float64)
    np.testing.assert_array_equal(series.loss[8:], line["loss"][8:].astype(float))


def test_without_pyarrow_they_come_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepsize.reading.find_spec", lambda _: None)
    server = Recorded()
    server.add(training(), [falling(MANY + 1)])
    assert len(server.client().series("job_t")) == MANY + 1
    assert len(server.asked) == 1


def columns() -> Columns:
    return Columns({"iteration": np.arange(3), "loss": np.array([1.0, np.nan, 0.5])})


def test_columns_are_tables_of_others() -> None:
    pandas, polars, arrow = columns().to_pandas(), columns().to_polars(), columns().to_arrow()
    assert list(pandas.columns) == polars.columns == arrow.column_names == ["iteration", "loss"]
    for found in (pandas["loss"].to_numpy(), polars["loss"].to_numpy(), arrow["loss"].to_numpy()):
        np.testing.assert_array_equal(found, [1.0, np.nan, 0.5])
    np.testing.assert_array_equal(columns().to_numpy()[:, 0], [0, 1, 2])
    assert str(pandas.dtypes["iteration"]) == "int64"


@pytest.mark.parametrize("package", ["pandas", "polars", "pyarrow"])
def test_what_is_not_installed_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    convert = {"pyarrow": "to_arrow"}.get(package, f"to_{package}")
    with pytest.raises(StepsizeError, match=rf"pip install {package}, or 'stepsize\[notebook\]'"):
        getattr(columns(), convert)()


@pytest.mark.parametrize(
    ("spec", "fields"), [(RangeTestSpec, RangeTestFields), (TrainingSpec, TrainingFields)]
)
def test_the_helpers_know_every_field(spec: type[Any], fields: type[Any]) -> None:
    known = {field.alias or name for name, field in spec.model_fields.items()}
    assert set(get_type_hints(fields)) == known - {"kind", "model", "data", "optimizer", "from"}
    for name in ("precision", "record"):
        (hint,) = get_args(get_type_hints(fields)[name])[:1]
        words = get_args(get_type_hints(fields)[name])
        wanted = get_args(spec.model_fields[name].annotation)
        if name == "precision":
            assert set(words) == set(wanted)
        else:
            assert set(get_args(hint)) == set(get_args(wanted[0]))


def test_the_helper_of_sweeps_knows_every_field() -> None:
    assert set(get_type_hints(SweepFields)) == set(SweepSpec.model_fields) - {
        "kind",
        "template",
        "space",
    }
    job = stepsize.training("mlp", "digits", "sgd", batch_size=8, schedule={}, length={"epochs": 1})
    spec = sweep(job, {"/seed": [0, 1]}, budget={"jobs": 2})
    assert SweepSpec.model_validate(spec).budget.jobs == 2


def test_a_job_and_a_sweep_are_a_line_each() -> None:
    job = Job(id="job_1", kind="training", state="running", spec={"much": ["more"]})
    assert repr(job) == "Job(id='job_1', kind='training', state='running', iterations='0 of ?')"
    best = Best(job="job_2", parameters={}, value=0.5)
    counts = {"succeeded": 1}
    some = Sweep(id="swp_1", name="lr", state="running", promised=4, counts=counts, best=best)
    assert str(some) == "id='swp_1' state='running' name='lr' jobs='1 of 4' best=0.5"


def test_what_is_asked_in_the_wrong_place_is_said_where_it_belongs() -> None:
    client = Client("http://127.0.0.1:9")
    job = {"kind": "training"}
    for asked, says in (
        (lambda: client.submit({"kind": "recipe"}), r"client\.sweeps\.submit"),
        (lambda: client.submit({"template": job, "space": {}}), "`stepsize sweep`"),
        (lambda: client.sweeps.submit(job), r"client\.submit; in a sweep it is the `template`"),
        (lambda: client.submit(None), "not NoneType"),  # type: ignore[arg-type]
        (lambda: client.job("swp_1"), r"swp_1 is a sweep: use client\.sweeps"),
        (lambda: client.job(""), "the id of a job is empty"),
        (lambda: client.sweeps.get("job_1"), r"job_1 is a job: use client\.job"),
        (lambda: client.sweeps.get(""), "the id of a sweep is empty"),
    ):
        with pytest.raises(StepsizeError, match=says):
            asked()  # type: ignore[no-untyped-call]


def test_a_client_names_the_page_of_a_job() -> None:
    client = Client("https://gpu.example/stepsize/")
    assert client.dashboard() == "https://gpu.example/stepsize/"
    assert client.dashboard("job_1") == "https://gpu.example/stepsize/#job_1"
