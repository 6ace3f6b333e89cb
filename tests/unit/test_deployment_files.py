"""The files of a deployment: what the services may do, what the images are made of."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from spec.settings import PREFIX, Settings
from tests.compose import COMPOSE, ROOT, SECRETS, SERVICES, VARIABLE, WORKERS, services

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
DOCUMENT = (ROOT / "docs" / "deployment.md").read_text()
STAGES: dict[str, str] = dict(
    re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM|\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL),
)


def test_secrets_have_no_default() -> None:
    for name in SECRETS:
        given = {other: value for other, value in SECRETS.items() if other != name}
        with pytest.raises(KeyError, match=f"{name}: set it in .env"):
            services(given)
    environments = {name: each.get("environment", {}) for name, each in SERVICES.items()}
    # each secret is told to those who need it, and to nobody else
    assert [n for n, env in environments.items() if "STEPSIZE_API_KEY" in env] == ["api"]
    assert "PGPASSWORD" not in environments["broker"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined(name: str) -> None:
    described = SERVICES[name]
    assert described["read_only"] is True
    assert described["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in described["security_opt"]
    if "build" not in described:
        assert re.search(r":\d+\.\d+(\.\d+)?-\w+$", described["image"])
        assert described["user"].split(":")[0] not in {"", "0", "root"}
    published = [port.split(":")[0] for port in described.get("ports", [])]
    assert published == (["127.0.0.1"] if name == "api" else [])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_lasts_and_says_how_it_is(name: str) -> None:
    described = SERVICES[name]
    waits = {
        (other, on["condition"])
        for other, each in SERVICES.items()
        for on_name, on in each.get("depends_on", {}).items()
        if on_name == name
    }
    if described["restart"] == "no":
        assert "healthcheck" not in described
        assert {condition for _, condition in waits} == {"service_completed_successfully"}
    else:
        assert described["restart"] == "unless-stopped"
        assert described["healthcheck"]["test"][0] == "CMD"
        assert {condition for _, condition in waits} <= {"service_healthy"}


def test_volumes_and_gpus_are_declared() -> None:
    mounts = [mount.split(":")[0] for s in SERVICES.values() for mount in s.get("volumes", [])]
    assert set(mounts) == set(yaml.safe_load(COMPOSE)["volumes"]) == {"database", "datasets"}
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]
    (device,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_every_setting_exists_and_every_variable_is_documented() -> None:
    settings = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    assert set(re.findall(rf"{PREFIX}\w+", COMPOSE + DOCKERFILE)) <= settings
    variables = {match[1] for match in VARIABLE.finditer(COMPOSE)}
    for described in SERVICES.values():
        variables |= {k for k, v in described.get("environment", {}).items() if v is None}
    assert {name for name in variables if f"`{name}`" not in DOCUMENT} == set()


def test_the_api_image_has_no_torch() -> None:
    sources = {name: set(re.findall(r"--from=(\S+)", text)) for name, text in STAGES.items()}
    for target in ("api", "worker"):
        assert sources[target] == {"package", f"{target}-dependencies"}
        assert f"requirements.py {target} >" in STAGES[f"{target}-dependencies"]
        assert ("torch" in needed(target)) == (target == "worker")
    for name, described in SERVICES.items():
        target = "worker" if name in WORKERS else "api"
        assert described.get("build", {}).get("target", target) == target
    assert re.search(r"^ARG PYTHON=python:3\.11\.\d+-slim-bookworm$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", STAGES["base"], re.MULTILINE)


def needed(extra: str) -> set[str]:
    """Names of the packages that an image installs before the source."""
    command = [sys.executable, "docker/requirements.py", extra]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return {re.split(r"[^\w-]", line)[0] for line in found.stdout.splitlines()}


def test_the_build_context_has_what_is_copied_and_no_more() -> None:
    first, *rules = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert first == "*"
    assert not {"!.git", "!.venv", "!.env", "!stepsize-data"} & set(rules)
    assert rules[-1] == "**/__pycache__"
    kept = {rule[1:] for rule in rules[:-1]}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    parts = {source for line in copied for source in line.split()} - {"."}
    parts |= {project["project"]["readme"], *project["project"]["license-files"]}
    parts |= set(project["tool"]["setuptools"]["packages"])
    for part in parts:
        assert (ROOT / part.replace(".", "/")).is_dir() or (ROOT / part).is_file(), part
        assert part in kept or re.split(r"[./]", part)[0] in kept, part


def test_the_images_have_every_package() -> None:
    packages = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    )
    tops = {name.split(".")[0] for name in packages}
    folders = {path.parent for top in tops for path in (ROOT / top).rglob("*.py")}
    assert packages == {".".join(folder.relative_to(ROOT).parts) for folder in folders}
