"""The files of a deployment: what the services may do, what the images are made of."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.resources import files

import pytest
import yaml
from jsonschema import Draft202012Validator

from spec.settings import IN_FILE, PREFIX, Settings
from tests.compose import COMPOSE, MOUNTED, ROOT, SECRETS, SERVICES, VARIABLE, WORKERS

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
DOCUMENT = (ROOT / "docs" / "deployment.md").read_text()
STAGES: dict[str, str] = dict(
    re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM|\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL),
)


def test_the_file_is_one_of_compose() -> None:
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    validator = Draft202012Validator(json.loads(schema.read_text()))
    described = yaml.safe_load(COMPOSE)
    assert [error.message for error in validator.iter_errors(described)] == []
    described["services"]["api"]["read-only"] = True
    assert list(validator.iter_errors(described))


def test_secrets_are_files_for_those_who_need_them() -> None:
    declared = yaml.safe_load(COMPOSE)["secrets"]
    assert declared == {name: {"file": f"./secrets/{name}"} for name in declared}
    assert set(SECRETS) <= set(declared)
    given = {name: set(each.get("secrets", [])) for name, each in SERVICES.items()}
    assert [n for n, secrets in given.items() if "api_key" in secrets] == ["api"]
    assert not given["broker"]
    for name, described in SERVICES.items():
        environment = described.get("environment", {})
        used = {v.removeprefix(MOUNTED) for v in environment.values() if MOUNTED in str(v)}
        # Prometheus names its own in the file it reads
        assert used == given[name] - {"metrics_key"}
        told = {k for k in environment if re.search("KEY|PASSWORD|SECRET", k)}
        assert all(key.endswith(IN_FILE) for key in told)
    assert "secrets/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined(name: str) -> None:
    described = SERVICES[name]
    assert described["read_only"] is True
    assert described["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in described["security_opt"]
    assert described["pids_limit"] > 0
    assert re.fullmatch(r"\d+[gm]", described["mem_limit"])
    if "build" not in described:
        assert re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", described["image"])
        assert described["user"].split(":")[0] not in {"", "0", "root"}
    published = [port.rsplit(":", 2)[0] for port in described.get("ports", [])]
    assert published == (["127.0.0.1"] if name in {"api", "grafana"} else [])
    # what has data in it is on a network that nothing leads into
    closed = described["networks"] == ["inside"]
    assert closed == (name in {"postgres", "broker", "prometheus"})


def test_database_and_broker_are_on_a_network_of_their_own() -> None:
    networks = yaml.safe_load(COMPOSE)["networks"]
    assert networks["inside"] == {"internal": True}
    assert {each for s in SERVICES.values() for each in s["networks"]} == set(networks)


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


@pytest.mark.parametrize(("target", "name"), [("api", "api"), ("worker", "worker")])
def test_an_image_checks_its_health_as_its_service_does(target: str, name: str) -> None:
    (check,) = re.findall(r"HEALTHCHECK .*\\\n +CMD (.+)", STAGES[target])
    assert json.loads(check) == SERVICES[name]["healthcheck"]["test"][1:]
    (command,) = re.findall(r"^CMD (.+)", STAGES[target], re.MULTILINE)
    assert json.loads(command) == SERVICES[name]["command"]


def test_volumes_profiles_and_gpus_are_declared() -> None:
    mounts = {mount.split(":")[0] for s in SERVICES.values() for mount in s.get("volumes", [])}
    configured = {each for each in mounts if each.startswith("./")}
    assert {each for each in configured if not (ROOT / each).exists()} == set()
    assert mounts - configured == set(yaml.safe_load(COMPOSE)["volumes"])
    profiles = {name: s["profiles"] for name, s in SERVICES.items() if "profiles" in s}
    watching = ["watching"]
    assert profiles == {"worker-gpu": ["gpu"], "prometheus": watching, "grafana": watching}
    (device,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_every_setting_exists_and_every_variable_is_documented() -> None:
    settings = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    used = re.findall(rf"{PREFIX}\w+", COMPOSE + DOCKERFILE)
    assert {name.removesuffix(IN_FILE) for name in used} <= settings
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
        assert described.get("build", {"target": target})["target"] == target
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
