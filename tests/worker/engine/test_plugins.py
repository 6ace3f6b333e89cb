"""Components of installed packages: what is offered, what is left out, and how they train."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spec.jobs import JOB_SPEC
from spec.population import population_key, stackable
from tests.plugins import Install, example, install  # noqa: F401 - fixtures
from tests.worker.engine.checkpoints import assert_same, told
from tests.worker.engine.conftest import RANGE_TEST, TRAINING, Record
from worker.engine import EngineError, plugins
from worker.engine.plugins import Plugin, PluginError

NET = """
    from typing import Annotated, Literal
    from pydantic import Field
    from torch import nn

    def net(shape, classes, *, width: Annotated[int, Field(ge=1)] = 4, bias: bool = True,
            act: Literal["relu", "tanh"] = "relu", sizes: tuple[int, ...] = ()) -> nn.Module:
        '''A net.'''
        return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], width),
                             nn.Linear(width, classes, bias=bias))
    """
EXAMPLE: dict[str, Any] = {
    "model": {"name": "small-conv", "params": {"width": 4, "dropout": 0.3}},
    "data": {"name": "shapes", "params": {"examples": 200}},
    "criterion": {"name": "focal"},
    "metrics": [{"name": "confidence"}, {"name": "top_k", "params": {"k": 2}}],
    "optimizer": {"name": "lion", "params": {"weight_decay": 0.01}},
    "schedule": {"policy": "constant", "lr": 0.003},
}


def find(kind: Any, name: str) -> Plugin:
    found = plugins.installed().find(kind, name)
    assert found is not None
    return found


def reasons() -> dict[str, str]:
    return {
        each.name: each.reason
        for each in plugins.installed().left_out
        if each.package != plugins.ME
    }


def test_a_signature_is_the_schema(install: Install) -> None:  # noqa: F811
    install("lab", NET, models=["net = lab:net"])
    offered = find("model", "net").offered()
    assert (offered.package, offered.version, offered.description) == ("lab", "1.0", "A net.")
    assert offered.parameters["additionalProperties"] is False
    properties: Any = offered.parameters["properties"]
    assert properties["width"] == {
        "default": 4, "minimum": 1, "title": "Width", "type": "integer"
    }  # fmt: skip
    assert properties["act"]["enum"] == ["relu", "tanh"]


def test_the_digest_is_of_what_is_accepted(install: Install) -> None:  # noqa: F811
    install("lab", NET, models=["net = lab:net"])
    offered = find("model", "net").offered()
    described = offered.model_copy(update={"version": "2", "description": "Another."})
    assert described.requirement == offered.requirement
    properties = {**offered.parameters, "properties": {}}
    assert offered.model_copy(update={"parameters": properties}).digest != offered.digest


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"width": 0}, "/model/params/width"),
        ({"width": 4.0}, "/model/params/width"),
        ({"width": "4"}, "/model/params/width"),
        ({"bias": 1}, "/model/params/bias"),
        ({"sizes": [1, "2"]}, "/model/params/sizes/1"),
        ({"depth": 3}, "/model/params/depth"),
    ],
)
def test_parameters_are_strict(
    install: Install,  # noqa: F811
    train: Record,
    params: dict[str, Any],
    pointer: str,
) -> None:
    install("lab", NET, models=["net = lab:net"])
    with pytest.raises(EngineError) as caught:
        train(model={"name": "net", "params": params})
    assert caught.value.detail.startswith(pointer)


def test_lists_are_tuples(install: Install, train: Record) -> None:  # noqa: F811
    install("lab", NET, models=["net = lab:net"])
    ours = train(model={"name": "net", "params": {"sizes": [1, 2]}})
    assert ours.plan.notes["packages"] == {"lab": "1.0"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
        ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
        ("net = 3", "is a int, neither a function nor a class"),
        ("def net(shape): ...", "must take shape, classes by position"),
        ("def net(shape, classes, width: int): ...", "write it after a *"),
        ("def net(shape, classes, *, width=3): ...", "parameter width has no type"),
        ("def net(shape, classes, **rest: int): ...", "parameter **rest: int must be a keyword"),
        ("def net(shape, classes, *, width: int = 'a'): ...", "defaults are not what"),
        ("def net(shape, classes, *, width: 'Nothing' = 3): ...", "signature cannot be read"),
        ("def net(shape, classes, *, f: object() = 3): ...", "cannot be checked"),
        ("def net(shape, classes, *, offered_by: int = 3): ...", "offered_by cannot have that"),
        ("def net(shape, classes, *, component: int = 3): ...", "component cannot have that"),
        ("def net(shape, classes, *, model_dump: int = 3): ...", "model_dump cannot have that"),
    ],
)
def test_what_is_broken_is_left_out_and_the_rest_is_offered(
    install: Install,  # noqa: F811
    code: str,
    reason: str,
) -> None:
    install("lab", NET, models=["net = lab:net"])
    install("broken", code, models=["other = broken:net"])
    assert reason in reasons()["other"]
    assert find("model", "net").package == "lab"


def test_built_ins_win_and_the_other_has_a_longer_name(
    install: Install,  # noqa: F811
    train: Record,
) -> None:
    install("lab", NET, models=["mlp = lab:net"])
    assert reasons() == {"mlp": "mlp is the built-in one: this one answers to lab.mlp"}
    built_in, theirs = (train(model={"name": name}) for name in ("mlp", "lab.mlp"))
    assert "packages" not in built_in.plan.notes
    assert theirs.plan.notes["packages"] == {"lab": "1.0"}


def test_of_two_packages_with_one_name_a_job_says_which(
    install: Install,  # noqa: F811
    train: Record,
) -> None:
    install("lab", NET, models=["net = lab:net"])
    install("my-shop", NET, models=["net = my_shop:net"])
    with pytest.raises(PluginError, match=r"say which, of my-shop\.net, lab\.net"):
        plugins.installed().find("model", "net")
    with pytest.raises(EngineError, match="/model/name: several packages offer net"):
        train(model={"name": "net"})
    assert train(model={"name": "my-shop.net"}).plan.notes["packages"] == {"my-shop": "1.0"}


def test_a_name_that_nobody_has_is_refused(train: Record) -> None:
    with pytest.raises(EngineError, match=r"/optimizer/name: lion is none of sgd, .*no package"):
        train(optimizer={"name": "lion"})


@pytest.mark.usefixtures("example")
def test_every_kind_takes_part_in_a_training(train: Record) -> None:
    ours = train(**EXAMPLE, evaluate={"every": {"iterations": 25}})
    assert ours.result["metrics"].keys() == {"confidence", "top_k"}  # type: ignore[union-attr]
    best: Any = ours.result["best"]
    assert 0 < best["metrics"]["confidence"] < best["metrics"]["top_k"] <= 1
    for name, last in ours.result["metrics"].items():  # type: ignore[union-attr]
        assert len(ours.column(f"val_{name}")) == len(ours.column("val_loss"))
        assert ours.column(f"val_{name}")[-1] == last
    assert ours.plan.notes["packages"] == {"stepsize-example": "0.1.0"}
    losses = ours.column("loss")
    assert losses[-5:].mean() < losses[:5].mean()


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize(
    "changes",
    [
        {"evaluate": {"every": {"iterations": 8}}, "record": ["accuracy", "probe_loss"]},
        {"optimizer": {"name": "adam"}, "lr_groups": {"multipliers": {"0.*": 0.1}}},
        {"model": {"name": "mlp", "params": {"dropout": 0.2}}},
    ],
)
def test_it_goes_on_from_a_checkpoint_to_the_bit(changes: dict[str, Any]) -> None:
    job = TRAINING | EXAMPLE | {"length": {"iterations": 40}} | changes
    assert_same(told(job, stops=[3, 17, 30]), told(job))


@pytest.mark.usefixtures("example")
def test_a_range_test_goes_on_to_the_bit() -> None:
    job = RANGE_TEST | {each: EXAMPLE[each] for each in EXAMPLE if each != "schedule"}
    job |= {"range": {"start": 1e-5, "end": 1.0, "iterations": 30}, "extensions": 0}
    assert_same(told(job, stops=[7, 40]), told(job))


@pytest.mark.usefixtures("example")
def test_a_seed_is_a_training_whatever_was_drawn_before(train: Record) -> None:
    job = EXAMPLE | {"length": {"iterations": 10}}
    first = train(**job).column("loss")
    torch.rand(17)
    np.testing.assert_array_equal(train(**job).column("loss"), first)
    assert train(**job, seed=1).column("loss")[0] != first[0]


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize(
    "watched", [{"record": ["probe_loss"]}, {"checks": ["curvature", "line_search"]}]
)
def test_watching_leaves_no_trace(range_test: Record, watched: dict[str, Any]) -> None:
    job = {each: EXAMPLE[each] for each in ("model", "data", "criterion")}
    job |= {"optimizer": {"name": "sgd", "params": {"momentum": 0.9}}, "repeats": 1}
    plain, ours = range_test(**job), range_test(**job, **watched)
    np.testing.assert_array_equal(ours.column("loss"), plain.column("loss"))


STATEFUL = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self, shape, classes):
            super().__init__()
            self.layer = nn.Linear(shape[0] * shape[1] * shape[2], classes)
            self.register_buffer("seen", torch.zeros(()))
            if torch.linspace(0, 1, 2).tolist() != [0, 1]:  # the meta device has no values
                raise ValueError
        def forward(self, x):
            if self.training:
                self.seen += 1
            noise = torch.rand(()) if self.training else 0.5
            return self.layer(x.flatten(1)) * (1 + 0.01 * noise) + 0.001 * self.seen
    """


@pytest.mark.parametrize("watched", [{"record": ["probe_loss"]}, {"checks": ["curvature"]}])
def test_a_model_with_a_memory_and_dice_is_watched_all_the_same(
    install: Install,  # noqa: F811
    range_test: Record,
    watched: dict[str, Any],
) -> None:
    install("lab", STATEFUL, models=["net = lab:Net"])
    job = {"model": {"name": "net"}, "repeats": 1}
    plain, ours = range_test(**job), range_test(**job, **watched)
    np.testing.assert_array_equal(ours.column("loss"), plain.column("loss"))


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("nn.Flatten()", r"gives shape \(32, 64\) for inputs of shape \(32, 1, 8, 8\)"),
        ("3", "is a int, no torch.nn.Module"),
    ],
)
def test_a_model_that_is_none_is_refused_in_plain_words(
    install: Install,  # noqa: F811
    train: Record,
    returned: str,
    said: str,
) -> None:
    code = f"from torch import nn\ndef net(shape, classes): return {returned}"
    install("lab", code, models=["net = lab:net"])
    with pytest.raises(EngineError, match=said):
        train(model={"name": "net"})


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("Arrays((x, y), (x, y), 3)", "has a label 3, which is not one of 3 classes"),
        ("Arrays((x, y[:5]), (x, y), 4)", "labels of torch.int64 in shape \\(5,\\) for 40 inputs"),
        ("Arrays((x, x), (x, y), 4)", "give one integer for each"),
        ("Arrays((x, y), (x[:, :2], y), 4)", r"shape \(3, 1, 1\), and to validate \(2, 1, 1\)"),
        ("(x, y)", "is a tuple: give Arrays or Ready"),
    ],
)
def test_a_dataset_that_is_none_is_refused_in_plain_words(
    install: Install,  # noqa: F811
    train: Record,
    returned: str,
    said: str,
) -> None:
    code = f"""
    import numpy as np
    from worker.plugins import Arrays
    def data(data_dir):
        x, y = np.random.rand(40, 3), np.arange(40) % 4
        return {returned}
    """
    install("lab", code, datasets=["set = lab:data"])
    with pytest.raises(EngineError, match=said):
        train(data={"name": "set"})


def test_arrays_may_be_taken_as_they_are(install: Install, train: Record) -> None:  # noqa: F811
    code = """
    import numpy as np
    from worker.plugins import Arrays
    def data(data_dir, *, as_is: bool):
        x, y = 5 + np.random.rand(64, 3), np.arange(64) % 2
        return Arrays((x, y), (x, y), 2, as_is=as_is)
    """
    install("lab", code, datasets=["set = lab:data"])
    job = {"schedule": {"policy": "constant", "lr": 0.0}, "length": {"iterations": 2}}
    for as_is in (True, False):
        data = {"name": "set", "params": {"as_is": as_is}}
        resident, streamed = train(data=data, **job), train(data=data, loader={}, **job)
        np.testing.assert_array_equal(resident.column("loss"), streamed.column("loss"))
    with pytest.raises(EngineError, match="/data/params/as_is: Field required"):
        train(data={"name": "set"})


def test_a_dataset_of_torch_streams_and_goes_on(install: Install) -> None:  # noqa: F811
    code = """
    import torch
    from worker.plugins import ByIndex, Ready
    class Noisy(torch.utils.data.Dataset):
        def __len__(self): return 96
        def __getitem__(self, i):
            return torch.full((1, 2, 2), float(i % 3)) + torch.rand(1, 2, 2), i % 3
    def data(data_dir):
        return Ready(ByIndex(Noisy(), (1, 2, 2)), ByIndex(Noisy(), (1, 2, 2)), 3)
    """
    install("lab", code, datasets=["noisy = lab:data"])
    job = TRAINING | {"data": {"name": "noisy"}, "loader": {"workers": 0}}
    job |= {"length": {"iterations": 20}}
    assert_same(told(job, stops=[7]), told(job))


OPTIMIZER = """
    import torch
    class Heavy(torch.optim.Optimizer):
        def __init__(self, params, lr, *, beta: float = 0.9):
            super().__init__(params, {"lr": lr, "beta": beta})
        @torch.no_grad()
        def step(self):
            for group in self.param_groups:
                group["updates"] = group.get("updates", 0) + 1
                for p in group["params"]:
                    state = self.state[p]
                    v = state.setdefault("v", torch.zeros_like(p, dtype=torch.float64))
                    v.mul_(group["beta"]).add_(p.grad)
                    p.sub_((group["lr"] / group["updates"] * v).to(p.dtype))
    def fused(params, lr):
        return torch.optim.SGD(params, lr, momentum=0.9, dampening=0.5, fused=True)
    """


def test_an_optimizers_state_is_kept_in_its_own_precision(install: Install) -> None:  # noqa: F811
    install("lab", OPTIMIZER, optimizers=["heavy = lab:Heavy"])
    job = TRAINING | {"optimizer": {"name": "heavy"}}
    assert_same(told(job, stops=[9, 30]), told(job))


def test_a_momentum_that_changes_needs_one(install: Install, train: Record) -> None:  # noqa: F811
    install("lab", OPTIMIZER, optimizers=["heavy = lab:Heavy"])
    with pytest.raises(EngineError, match="set both momenta to null"):
        train(optimizer={"name": "heavy"}, schedule={"policy": "one_cycle", "max_lr": 0.1})


def test_torchs_own_optimizer_is_what_a_plugin_says_it_is(
    install: Install,  # noqa: F811
    train: Record,
) -> None:
    install("lab", OPTIMIZER, optimizers=["damped = lab:fused"])
    damped = train(optimizer={"name": "damped"}).column("loss")
    plain = train(optimizer={"name": "sgd", "params": {"momentum": 0.9}}).column("loss")
    assert damped[1] == plain[1]  # torch begins with the gradient itself
    assert damped[3] != plain[3]


@pytest.mark.parametrize(
    "changes",
    [{"model": {"name": "net"}}, {"criterion": {"name": "mse"}}, {"metrics": [{"name": "top_k"}]}],
)
def test_what_is_no_built_in_model_and_loss_trains_alone(changes: dict[str, Any]) -> None:
    spec = JOB_SPEC.validate_python(TRAINING | {"population": True} | changes)
    assert not stackable(spec)
    assert population_key(spec) is None


def test_built_in_losses(train: Record) -> None:
    plain, zero, smooth, mse = (
        train(criterion=each).column("loss")
        for each in (
            None,
            {"name": "cross_entropy"},
            {"name": "cross_entropy", "params": {"label_smoothing": 0.2}},
            {"name": "mse"},
        )
    )
    np.testing.assert_array_equal(plain, zero)
    assert smooth[0] != plain[0]
    assert mse[-1] < mse[0] < 1


def test_no_parameter_leads_out_of_the_data_directory(tmp_path: Path) -> None:
    from worker.plugins import within  # noqa: PLC0415 - beside what it is about

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path)
    assert within(tmp_path / "data", "a/b") == tmp_path / "data" / "a" / "b"
    for name in ("..", "../x", "/etc/passwd", "link/x", "a/../../x"):
        with pytest.raises(ValueError, match="leads out of the data directory"):
            within(tmp_path / "data", name)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.usefixtures("example")
def test_on_a_gpu_it_is_not_recorded_and_goes_on_all_the_same() -> None:
    job = TRAINING | EXAMPLE | {"length": {"iterations": 30}, "optimizer": {"name": "sgd"}}
    cuda = torch.device("cuda")
    whole = told(job, device=cuda)
    assert whole.plans[0].notes["cuda_graphs"] is False
    assert "code of a plug-in takes part" in whole.plans[0].warnings[0]
    assert_same(told(job, stops=[5, 14], device=cuda), whole)
