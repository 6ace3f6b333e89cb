"""The files for Kubernetes: valid by its schemas, confined, and about what there is."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate import ValidationError, validate

from spec.settings import IN_FILE, PREFIX, Settings
from tests.compose import ROOT, SERVICES
from tests.kubernetes import FILES, FOLDER, built, documents, kustomize, templates

VERSIONS = ("1.31", "1.34")
OWN = [path for path in FILES if "keda.sh" not in path.read_text()]
PODS = dict(templates(documents(*FILES)))
TARGETS = {"stepsize-api": "api", "stepsize-worker": "worker", "stepsize-worker-gpu": "worker"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", OWN, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_resource_is_valid(path: Path, version: str) -> None:
    for each in documents(path):
        validate(each, version, strict=True)


def test_a_wrong_resource_would_be_noticed() -> None:
    deployment, *_ = documents(FOLDER / "base" / "api.yaml")
    deployment["spec"]["template"]["spec"]["containers"][0]["image_"] = "x"
    with pytest.raises(ValidationError, match="image_"):
        validate(deployment, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_keeps_to_the_restricted_standard(name: str) -> None:
    """As Kubernetes' Pod Security Standards list it, and with a read-only root on top."""
    pod = PODS[name]["spec"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert pod["automountServiceAccountToken"] is False
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    allowed = {"configMap", "emptyDir", "projected", "secret", "persistentVolumeClaim", "ephemeral"}
    for volume in pod["volumes"]:
        assert volume.keys() - {"name"} <= allowed
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
        mounted = {each["name"] for each in container["volumeMounts"]}
        assert mounted == {each["name"] for each in pod["volumes"]}


@pytest.mark.parametrize("name", PODS)
def test_a_pod_runs_what_compose_runs(name: str) -> None:
    (container,) = PODS[name]["spec"]["containers"]
    service = SERVICES[name]
    assert container["args"] == service["command"]
    if container["image"] in TARGETS:
        assert service["build"]["target"] == TARGETS[container["image"]]
        assert PODS[name]["spec"]["securityContext"]["runAsUser"] == 10001
    else:
        assert container["image"] == service["image"]


def test_settings_exist_and_secrets_go_to_those_who_need_them() -> None:
    base = yaml.safe_load((FOLDER / "base" / "kustomization.yaml").read_text())
    (generated,) = base["configMapGenerator"]
    told = {each.split("=")[0] for each in generated["literals"]}
    for name, template in PODS.items():
        pod = template["spec"]
        (container,) = pod["containers"]
        told |= {each["name"] for each in container.get("env", [])}
        secrets = {
            item["path"]
            for volume in pod["volumes"]
            for item in volume.get("secret", {}).get("items", [])
        }
        assert secrets == set(SERVICES[name].get("secrets", []))
        assert all("valueFrom" not in each for each in container.get("env", []))
    fields = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    assert {name.removesuffix(IN_FILE) for name in told} - {"OMP_NUM_THREADS"} <= fields


def test_whoever_is_stopped_has_the_time_to_hand_back() -> None:
    for name in ("worker", "worker-gpu"):
        pod = PODS[name]["spec"]
        grace = SERVICES["worker"]["stop_grace_period"]
        assert pod["terminationGracePeriodSeconds"] >= float(grace.rstrip("s"))
        # an outage of the database must not end those that train on through it
        assert "livenessProbe" not in pod["containers"][0]
    assert PODS["worker-gpu"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_nothing_is_reached_but_by_a_rule() -> None:
    rules = {
        each["metadata"]["name"]: each["spec"] for each in documents(FOLDER / "base/network.yaml")
    }
    assert rules["nothing"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ports = {
        name: {
            p["port"]
            for way in ("ingress", "egress")
            for rule in spec.get(way, [])
            for p in rule["ports"]
        }
        for name, spec in rules.items()
    }
    assert ports["broker"] == {6379}
    assert ports["api"] == {8000}
    (ingress,) = rules["broker"]["ingress"]
    assert ingress["from"]
    named = {
        value
        for spec in rules.values()
        for value in re.findall(r"'(api|migrate|worker|worker-gpu|broker)'", str(spec))
    }
    assert named == set(PODS)


@pytest.fixture
def example(tmp_path: Path) -> list[dict[str, Any]]:
    """The example with secrets in it, as Kustomize puts it together."""
    if kustomize() is None:
        pytest.skip("neither kustomize nor kubectl is there to put the example together")
    copy = shutil.copytree(FOLDER, tmp_path / "kubernetes") / "overlays" / "example"
    (copy / "secrets").mkdir()
    for name in ("database_password", "api_key"):
        (copy / "secrets" / name).write_text("0123456789abcdef")
    return built(copy)


def test_the_example_is_whole(example: list[dict[str, Any]]) -> None:
    names: dict[str, set[str]] = {}
    for each in example:
        names.setdefault(each["kind"], set()).add(each["metadata"]["name"])
        if "keda.sh" not in each["apiVersion"]:
            validate(each, VERSIONS[-1], strict=True)
        assert each["kind"] == "Namespace" or each["metadata"]["namespace"] == "stepsize"
    assert {"worker", "worker-gpu"} == names["ScaledObject"]
    (secret,) = names["Secret"]
    for _, template in templates(example):
        (container,) = template["spec"]["containers"]
        assert re.search(r":v?\d+\.\d+", container["image"])
        for volume in template["spec"]["volumes"]:
            assert volume.get("secret", {"secretName": secret})["secretName"] == secret
            claim = volume.get("persistentVolumeClaim", {"claimName": "data"})["claimName"]
            assert claim in names["PersistentVolumeClaim"]
        for source in container.get("envFrom", []):
            assert source["configMapRef"]["name"] in names["ConfigMap"]
        account = template["spec"]["serviceAccountName"]
        assert account in names["ServiceAccount"]
    (authentication,) = [each for each in example if each["kind"] == "TriggerAuthentication"]
    assert [each["name"] for each in authentication["spec"]["secretTargetRef"]] == [secret]
    for each in example:
        if each["kind"] == "ScaledObject":
            assert each["spec"]["scaleTargetRef"]["name"] in names["Deployment"]
            (trigger,) = each["spec"]["triggers"]
            assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]


def test_the_folder_is_named_in_the_documents() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    for path in ("base", "components/gpu", "components/autoscaler", "overlays/example"):
        assert f"deploy/kubernetes/{path}" in text
