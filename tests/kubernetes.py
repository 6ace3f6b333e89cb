"""The files in deploy/kubernetes: parsed, and as Kustomize puts them together where it is there."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.compose import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
FILES = sorted(
    path
    for path in FOLDER.rglob("*.yaml")
    if path.name not in {"kustomization.yaml", "references.yaml"}
)


def documents(*paths: Path) -> list[dict[str, Any]]:
    return [each for path in paths for each in yaml.safe_load_all(path.read_text())]


def templates(resources: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod that the resources make, by the name of what makes it."""
    for each in resources:
        if each["kind"] in {"Deployment", "Job"}:
            yield each["metadata"]["name"], each["spec"]["template"]


def kustomize() -> list[str] | None:
    """The command that puts a folder together; None where neither program is there."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    return ["kubectl", "kustomize"] if shutil.which("kubectl") else None


def built(folder: Path) -> list[dict[str, Any]]:
    command = kustomize()
    assert command is not None
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))
