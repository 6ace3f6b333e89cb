"""Jobs side by side: what differs, what came out, where their curves lie."""

from pathlib import Path

import numpy as np
import pytest

from stepsize import StepsizeError
from tests.recorded import Recorded, falling, range_test, training


@pytest.fixture
def server() -> Recorded:
    recorded = Recorded()
    sgd = {"name": "sgd", "params": {"momentum": 0.9}}
    recorded.add(training("job_1", spec={"optimizer": sgd, "seed": 1}), [falling(300)])
    slower = training(
        "job_2", name=None, spec={"optimizer": {"name": "adam"}, "batch_size": 64, "seed": 1}
    )
    slower["result"] |= {"seconds": 6.0, "val_accuracy": 0.95}
    recorded.add(slower, [falling(300, noise=1)])
    recorded.add(range_test("job_3"), [falling(100)], [falling(90)])
    return recorded


def test_only_settings_that_differ_are_told(server: Recorded) -> None:
    compared = server.client().compare(["job_1", "job_2"])
    assert compared.settings == {
        "/optimizer/name": ["sgd", "adam"],
        "/optimizer/params/momentum": [0.9, None],
        "/batch_size": [32, 64],
    }
    assert compared.results["val_accuracy"] == [0.9, 0.95]
    assert "max_lr" not in compared.results  # no job has one
    frame = compared.to_pandas()
    assert frame["job"].tolist() == ["job_1", "job_2"]
    assert frame["/batch_size"].tolist() == [32, 64]
    assert compared.labels() == [
        "name=sgd, momentum=0.9, batch_size=32",
        "name=adam, batch_size=64",
    ]


def test_equal_jobs_are_called_by_their_names(server: Recorded) -> None:
    assert server.client().compare(["job_1", "job_1"]).labels() == ["digits", "digits"]
    with pytest.raises(StepsizeError, match="name jobs"):
        server.client().compare([])


@pytest.mark.parametrize(("along", "ends"), [("iteration", 299), ("epoch", 3.0), ("time", 3.0)])
def test_curves_are_aligned(server: Recorded, along: str, ends: float) -> None:
    compared = server.client().compare(["job_1", "job_2"])
    (x, y), (other, _) = compared.curves("loss", along=along)  # type: ignore[arg-type]
    assert x[-1] == pytest.approx(ends)
    assert other[-1] == pytest.approx(6.0 if along == "time" else ends)
    np.testing.assert_allclose(y[0], falling(300)["loss"][0])


def test_what_cannot_be_aligned_says_why(server: Recorded) -> None:
    server.add(training("job_4", resolved=None, result=None, state="running"), [falling(10)])
    compared = server.client().compare(["job_4"])
    with pytest.raises(StepsizeError, match="how many iterations an epoch has"):
        compared.curves(along="epoch")
    with pytest.raises(StepsizeError, match="how fast it ran"):
        compared.curves(along="time")


def test_they_are_drawn_in_one_picture(server: Recorded, tmp_path: Path) -> None:
    client = server.client()
    (ax,) = client.compare(["job_1", "job_2"]).plot(tmp_path / "both.png", along="epoch").axes
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_xscale()) == ("epoch", "loss", "linear")
    assert [line.get_label() for line in ax.get_lines()] == client.compare(
        ["job_1", "job_2"]
    ).labels()
    (ax,) = client.compare(["job_3", "job_3"]).plot().axes
    assert (ax.get_xlabel(), ax.get_xscale()) == ("learning rate", "log")
    with pytest.raises(StepsizeError, match="has recorded a val_loss"):
        client.compare(["job_1"]).plot(name="val_loss")
