"""The dashboard for Grafana asks for nothing that /metrics does not tell."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

PATH = Path(__file__).parents[2] / "docker" / "grafana" / "stepsize.json"
DASHBOARD: dict[str, Any] = json.loads(PATH.read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.fixture
def told(client: TestClient) -> str:
    client.get("/healthz")
    return client.get("/metrics").text


def test_every_query_is_about_what_is_told(told: str) -> None:
    names = set(re.findall(r"^(stepsize_\w+)", told, re.MULTILINE))
    for query in QUERIES:
        wanted = set(re.findall(r"stepsize_\w+", query))
        assert wanted, query
        assert wanted <= names, query


def test_every_label_and_state_is_told(told: str) -> None:
    labels = set(re.findall(r'[{,](\w+)="', told)) | {"job", "le"}  # job: Prometheus' own
    states = set(re.findall(r'state="(\w+)"', told))
    for query in QUERIES:
        for selector in re.findall(r"\{(.*?)\}", query):
            assert set(re.findall(r"(\w+)(?:=~|!~|=)", selector)) <= labels, query
            for words in re.findall(r'state=~?"([\w|]+)"', selector):
                assert set(words.split("|")) <= states, query
        for grouped in re.findall(r"by \((.*?)\)", query):
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
