"""`stepsize plugin check`: what it finds wrong with a component, in plain words."""

from pathlib import Path

import pytest

from tests.plugins import Install, example, install  # noqa: F401 - fixtures
from worker.engine.plugins import installed
from worker.trial import Setting, check, trial

RANDOM = """
    import random
    import torch
    from torch import nn
    class Net(nn.Module):
        def __init__(self, shape, classes):
            super().__init__()
            self.layer = nn.Linear(shape[0] * shape[1] * shape[2], classes)
        def forward(self, x):
            return self.layer(x.flatten(1)) * random.random()
    """
FORGETFUL = """
    import torch
    from torch import nn
    class Net(nn.Module):
        def __init__(self, shape, classes):
            super().__init__()
            self.layer = nn.Linear(shape[0] * shape[1] * shape[2], classes)
            self.seen = 0
        def forward(self, x):
            self.seen += self.training
            return self.layer(x.flatten(1)) * (1 + self.seen)
    """
UNSAVED = """
    import torch
    class Sgd(torch.optim.SGD):
        def __init__(self, params, lr):
            super().__init__(params, lr)
        def state_dict(self):
            return {**super().state_dict(), "made_by": self.__class__}
    """


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting((1, 16, 16), 3, {}, tmp_path)


@pytest.mark.usefixtures("example")
def test_all_is_well_with_the_example(setting: Setting, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(installed(), "stepsize-example", setting)
    said = capsys.readouterr().out
    assert said.count("as if it had never stopped, to the bit") == 5
    assert "WRONG" not in said


@pytest.mark.parametrize(
    ("code", "group", "entry", "said"),
    [
        (RANDOM, "models", "Net", "two trainings from one seed differ: draw random numbers from"),
        (FORGETFUL, "models", "Net", "it goes on from a checkpoint as another training would"),
        (UNSAVED, "optimizers", "Sgd", "its state cannot be kept in a checkpoint"),
        ("def f(scores, labels): return 3.0", "losses", "f", "loss it gives float: it must give"),
        ("def f(scores, labels): return scores", "losses", "f", "loss it gives shape (8, 3): it"),
        ("def f(scores, labels): return scores.sum() / 0", "losses", "f", "is not finite"),
        ("def f(scores, labels): return 'good'", "metrics", "f", "metric it gives str: it must"),
        ("def f(scores, labels): return labels", "metrics", "f", "metric it gives shape (12,)"),
        ("def f(scores, labels): raise SystemExit(2)", "losses", "f", "asked the process to end"),
        ("def f(data_dir): raise KeyError('no')", "datasets", "f", "KeyError: 'no'"),
        ("import missing_thing", "models", "f", "cannot be imported: ModuleNotFoundError"),
        ("def f(shape, classes, *, n: int): ...", "models", "f", "n must be given: --params 'it="),
    ],
)
def test_what_is_wrong_is_said(  # noqa: PLR0917 - fixtures
    install: Install,  # noqa: F811
    setting: Setting,
    capsys: pytest.CaptureFixture[str],
    code: str,
    group: str,
    entry: str,
    said: str,
) -> None:
    install("lab", code, **{group: [f"it = lab:{entry}"]})
    assert not check(installed(), "lab", setting)
    assert said in capsys.readouterr().out.split("WRONG")[1]


def test_parameters_without_a_default_are_given(install: Install, tmp_path: Path) -> None:  # noqa: F811
    code = """
    from torch import nn
    def net(shape, classes, *, width: int):
        return nn.Sequential(nn.Flatten(), nn.Linear(256, width), nn.Linear(width, classes))
    """
    install("lab", code, models=["it = lab:net"])
    plugin = installed().find("model", "it")
    assert plugin is not None
    setting = Setting((1, 16, 16), 3, {"it": {"width": 4}}, tmp_path)
    assert len(list(trial(plugin, setting))) == 4


def test_a_package_that_is_not_there(setting: Setting, capsys: pytest.CaptureFixture[str]) -> None:
    assert not check(installed(), "nothing", setting)
    assert "no installed package called nothing offers anything" in capsys.readouterr().out
