"""What Grafana and Prometheus are given asks for nothing that /metrics does not tell."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

DOCKER = Path(__file__).parents[2] / "docker"
DASHBOARD: dict[str, Any] = json.loads((DOCKER / "grafana" / "stepsize.json").read_text())
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((DOCKER / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
QUERIES += [rule["expr"] for rule in ALERTS.values()]
OWN = {"up"}
"""Metrics that Prometheus makes itself."""


@pytest.fixture
def told(client: TestClient) -> str:
    client.get("/healthz")
    return client.get("/metrics").text


def test_every_query_is_about_what_is_told(told: str) -> None:
    names = set(re.findall(r"^(\w+)[{ ]", told, re.MULTILINE)) | OWN
    for query in QUERIES:
        wanted = set(re.findall(r"\b(?:stepsize|process)_\w+|\bup\b", query))
        assert wanted, query
        assert wanted <= names, query


def test_every_label_and_state_is_told(told: str) -> None:
    labels = set(re.findall(r'[{,](\w+)="', told)) | {"job", "instance", "le"}  # Prometheus' own
    states = set(re.findall(r'state="(\w+)"', told))
    for query in QUERIES:
        for selector in re.findall(r"\{(.*?)\}", query):
            assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)", selector)) <= labels, query
            for words in re.findall(r'\bstate(?:=~|!=|=)"([\w|]+)"', selector):
                assert set(words.split("|")) <= states, query
            for outcome in re.findall(r'outcome="(\w+)"', selector):
                assert f'outcome="{outcome}"' in told, query
        for grouped in re.findall(r"(?:by|ignoring) ?\((.*?)\)", query):
            assert set(grouped.split(", ")) <= labels, query


def test_panels_do_not_overlap_and_name_their_source() -> None:
    places = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not cells & places, panel["title"]
        assert at["x"] + at["w"] <= 24
        places |= cells
        assert panel["datasource"]["uid"] == "${datasource}"
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert {each["name"] for each in DASHBOARD["templating"]["list"]} == {"datasource", "job"}


def test_every_alert_says_what_is_wrong_and_the_guide_what_to_do() -> None:
    guide = (DOCKER.parent / "docs" / "watching.md").read_text()
    tested = yaml.safe_load((DOCKER / "prometheus" / "alerts_test.yml").read_text())["tests"]
    fires = {
        each["alertname"]
        for test in tested
        for each in test["alert_rule_test"]
        if each["exp_alerts"]
    }
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in {"critical", "warning"}, name
        assert rule["annotations"]["summary"], name
        assert f"`{name}`" in guide, name
    assert fires == ALERTS.keys()


def test_the_guide_names_every_metric(told: str) -> None:
    guide = (DOCKER.parent / "docs" / "watching.md").read_text()
    for name in re.findall(r"^# TYPE (stepsize_\w+) \w+$", told, re.MULTILINE):
        assert f"`{name}" in guide or name.endswith("_created"), name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="comes with Prometheus")
@pytest.mark.parametrize("command", ["check rules alerts.yml", "test rules alerts_test.yml"])
def test_prometheus_understands_the_rules(command: str) -> None:
    folder = DOCKER / "prometheus"
    run = subprocess.run(
        ["promtool", *command.split()], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_prometheus_reads_the_rules_and_asks_with_a_key() -> None:
    settings = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
    assert settings["rule_files"] == ["alerts.yml"]
    (scrape,) = settings["scrape_configs"]
    assert scrape["job_name"] == "stepsize"
    assert "credentials_file" in scrape["authorization"]


def test_grafana_is_given_its_source_and_its_dashboards() -> None:
    folder = DOCKER / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    (provider,) = yaml.safe_load((folder / "dashboards" / "stepsize.yml").read_text())["providers"]
    assert provider["type"] == "file"
