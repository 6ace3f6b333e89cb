"""Packages with components, installed for a test without an installer."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from worker.engine import plugins

EXAMPLE = Path(__file__).parents[1] / "examples" / "stepsize-example"

Install = Callable[..., None]


def written(folder: Path, name: str, version: str, groups: dict[str, list[str]]) -> None:
    """What an installer leaves behind beside the modules."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"[stepsize.{group}]\n" + "\n".join(entries) for group, entries in groups.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package of one module: `install("lab", code, models=["net = lab:net"])`."""
    before = set(sys.modules)
    plugins.installed.cache_clear()

    def install(name: str, code: str, *, version: str = "1.0", **groups: list[str]) -> None:
        folder = tmp_path / "site" / name
        written(folder, name, version, groups)
        (folder / f"{name.replace('-', '_')}.py").write_text(dedent(code))
        monkeypatch.syspath_prepend(str(folder))
        plugins.installed.cache_clear()

    yield install
    plugins.installed.cache_clear()
    for each in set(sys.modules) - before:
        if (tmp_path / "site") in Path(getattr(sys.modules[each], "__file__", None) or "/").parents:
            del sys.modules[each]


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example package, installed."""
    groups: dict[str, list[str]] = {
        "models": ["small-conv = stepsize_example.models:small_conv"],
        "datasets": ["shapes = stepsize_example.data:shapes"],
        "losses": ["focal = stepsize_example.losses:focal"],
        "metrics": ["confidence = stepsize_example.losses:confidence"],
        "optimizers": ["lion = stepsize_example.optimizers:Lion"],
    }
    written(tmp_path / "info", "stepsize-example", "0.1.0", groups)
    monkeypatch.syspath_prepend(str(tmp_path / "info"))
    monkeypatch.syspath_prepend(str(EXAMPLE))
    plugins.installed.cache_clear()
    yield
    plugins.installed.cache_clear()
