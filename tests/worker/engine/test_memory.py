"""A job that cannot fit is refused before it takes the machine down."""

from pathlib import Path
from typing import Any

import pytest
import torch

from spec.components import MlpParams
from spec.states import Reason
from tests.worker.engine.conftest import Record
from worker.engine import EngineError, memory
from worker.engine.errors import explained
from worker.engine.memory import activations, available, cgroups_free, machine_free, weights
from worker.engine.models import build


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"name": "mlp", "params": {"hidden": [10_000_000, 10_000_000]}}},
        {"model": {"name": "resnet", "params": {"width": 1_000_000}}},
        {
            "data": {"name": "synthetic", "params": {"examples": 4000, "shape": [1, 64, 64]}},
            "model": {"name": "resnet", "params": {"depth": 1202, "width": 256}},
            "batch_size": 3000,
        },
        {"data": {"name": "synthetic", "params": {"shape": [10_000_000] * 3}}},
    ],
    ids=["parameters", "channels", "activations", "data"],
)
def test_what_cannot_fit_is_refused_with_both_sizes(train: Record, changes: dict[str, Any]) -> None:
    with pytest.raises(
        EngineError, match=r"needs about [\d,.]+ GB on cpu; this worker has [\d,.]+ GB free"
    ) as refused:
        train(**changes)
    assert refused.value.reason is Reason.OOM


def test_the_estimate_counts_weights_and_what_the_backward_pass_needs() -> None:
    with torch.device("meta"):
        model = build(MlpParams(hidden=(32,)), (1, 8, 8), 10)
        kept = activations(model, torch.empty(5, 1, 8, 8))
    assert weights(model) == 4 * (64 * 32 + 32 + 32 * 10 + 10)
    assert kept == 4 * 5 * (64 + 32 + 10)


def test_a_learned_rate_is_counted_with_the_gradients_it_keeps(
    train: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(memory, "require", lambda needed, *_: asked.append(needed))
    train()
    train(schedule={"policy": "hypergradient"})
    numbers = 64 * 32 + 32 + 32 * 10 + 10
    assert asked[2] - asked[0] == asked[3] - asked[1] == 2 * 4 * numbers


def test_the_machine_has_something_free() -> None:
    assert 0 < available(torch.device("cpu")) < 1 << 50


def test_the_kernels_word_is_taken(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   7 kB\n")
    assert machine_free(tmp_path) == 7 * 1024
    assert machine_free(tmp_path / "no linux") > 0


@pytest.mark.parametrize(
    ("membership", "group", "limit", "usage"),
    [
        ("0::/a/b", "a/b", "memory.max", "memory.current"),
        ("0::/a/b", "a", "memory.max", "memory.current"),
        ("0::/somewhere/on/the/host", "", "memory.max", "memory.current"),
        ("4:memory:/a", "memory/a", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ],
    ids=["v2", "v2 parent", "v2 in a container", "v1"],
)
def test_limits_of_control_groups_count(
    tmp_path: Path, membership: str, group: str, limit: str, usage: str
) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text(f"3:cpuset:/x\n{membership}\n")
    folder = tmp_path / "mount" / group
    folder.mkdir(parents=True)
    (folder / usage).write_text("600\n")
    (folder / "memory.stat").write_text("anon 100\ninactive_file 50\n")
    (folder / limit).write_text("1000\n")
    assert list(cgroups_free(tmp_path, tmp_path / "mount")) == [450]
    (folder / limit).write_text("max\n")
    if limit == "memory.max":
        assert not list(cgroups_free(tmp_path, tmp_path / "mount"))


def test_torchs_own_refusal_becomes_oom() -> None:
    with pytest.raises(EngineError, match="can't allocate memory") as failed, explained():
        torch.empty(1 << 50, dtype=torch.uint8)
    assert failed.value.reason is Reason.OOM


def test_a_machine_without_any_limit_has_what_its_kernel_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 7 kB\n")
    monkeypatch.setattr(memory, "PROC", tmp_path)
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "none")
    assert available(torch.device("cpu")) == 7 * 1024
