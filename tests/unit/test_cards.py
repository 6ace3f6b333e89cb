"""Which GPUs there are, as a program called nvidia-smi says."""

import os
from pathlib import Path

import pytest

from stepsize import cards, pool
from stepsize.cards import Card
from stepsize.errors import StepsizeError

LISTING = """\
GPU 0: NVIDIA H100 PCIe (UUID: GPU-aaaa1111-0000-4000-8000-000000000000)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb2222-0000-4000-8000-000000000000)
  MIG 3g.20gb     Device  0: (UUID: MIG-cccc3333-0000-5000-8000-000000000000)
  MIG 3g.20gb     Device  1: (UUID: MIG-dddd4444-0000-5000-8000-000000000000)
Unable to determine the device handle for gpu 0000:83:00.0: GPU is lost.
GPU 3: NVIDIA H100 PCIe (UUID: GPU-eeee5555-0000-4000-8000-000000000000)
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH with an nvidia-smi that prints what `listing` holds."""
    (tmp_path / "listing").write_text(LISTING)
    fake = tmp_path / "nvidia-smi"
    fake.write_text(f'#!/bin/sh\n[ "$1" = -L ] && exec cat {tmp_path}/listing\nexit 2\n')
    fake.chmod(0o755)
    return f"{tmp_path}{os.pathsep}{os.environ['PATH']}"


def uuids(found: list[Card]) -> list[str]:
    return [card.uuid[4:8] for card in found]


@pytest.mark.parametrize(
    ("limit", "left"),
    [
        (None, ["aaaa", "cccc", "dddd", "eeee"]),
        ("0,3", ["aaaa", "eeee"]),
        ("3,0", ["eeee", "aaaa"]),
        ("GPU-eeee,MIG-dddd4444-0000-5000-8000-000000000000", ["eeee", "dddd"]),
        ("0,7,3", ["aaaa"]),
        ("", []),
        ("-1", []),
    ],
)
def test_the_visible_cards(path: str, limit: str | None, left: list[str]) -> None:
    environ = {"PATH": path} | ({} if limit is None else {"CUDA_VISIBLE_DEVICES": limit})
    assert uuids(cards.visible(environ)) == left


def test_a_slice_is_known_by_its_card() -> None:
    models = [card.model for card in cards.read(LISTING)]
    assert [card.label for card in cards.read(LISTING)] == ["0", "1m0", "1m1", "3"]
    assert models == [
        "NVIDIA H100 PCIe",
        "NVIDIA A100-SXM4-40GB MIG 3g.20gb",
        "NVIDIA A100-SXM4-40GB MIG 3g.20gb",
        "NVIDIA H100 PCIe",
    ]


def test_a_machine_without_the_tool_has_none(tmp_path: Path) -> None:
    assert cards.visible({"PATH": str(tmp_path)}) == []


def test_a_tool_that_fails_is_said(tmp_path: Path) -> None:
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\necho the driver does not answer >&2\nexit 9\n")
    fake.chmod(0o755)
    with pytest.raises(StepsizeError, match=r"(?s)driver does not answer.*--devices cpu"):
        cards.visible({"PATH": str(tmp_path)})


@pytest.mark.parametrize(
    ("devices", "found"),
    [
        ("auto", ["aaaa", "cccc", "dddd", "eeee"]),
        ("cuda", ["aaaa", "cccc", "dddd", "eeee"]),
        ("cpu", []),
        ("cuda:3", ["eeee"]),
        ("3, 0", ["eeee", "aaaa"]),
        ("MIG-d", ["dddd"]),
    ],
)
def test_cards_by_name(devices: str, found: list[str]) -> None:
    assert uuids(cards.chosen(cards.read(LISTING), devices)) == found


@pytest.mark.parametrize("devices", ["4", "GPU-", "GPU-x", "0,GPU-aaaa", "tpu", ","])
def test_cards_that_are_not_there(devices: str) -> None:
    with pytest.raises(StepsizeError, match="--devices"):
        cards.chosen(cards.read(LISTING), devices)


def test_cuda_without_a_card_is_said() -> None:
    with pytest.raises(StepsizeError, match="lists no GPU"):
        cards.chosen([], "cuda")


CARDS = [Card(i, "H100", f"GPU-{i}") for i in range(4)]


def test_a_node_for_each_card_sees_no_other() -> None:
    nodes = pool.planned(CARDS)
    assert [node.name for node in nodes] == ["gpu0", "gpu1", "gpu2", "gpu3"]
    assert nodes[2].environ == {
        "CUDA_VISIBLE_DEVICES": "GPU-2",
        "STEPSIZE_DEVICE": "cuda:0",
        "STEPSIZE_GPUS": "1",
        "STEPSIZE_PER_GPU": "1",
    }


def test_nodes_that_share_a_card_and_nodes_that_join_some() -> None:
    shared = pool.planned(CARDS[:1], per_gpu=2)
    assert [node.name for node in shared] == ["gpu0.0", "gpu0.1"]
    assert {node.environ["STEPSIZE_PER_GPU"] for node in shared} == {"2"}
    joined = pool.planned(CARDS, gpus_per_job=2)
    assert [node.name for node in joined] == ["gpu0+1", "gpu2+3"]
    assert joined[1].environ["CUDA_VISIBLE_DEVICES"] == "GPU-2,GPU-3"
    assert joined[1].environ["STEPSIZE_GPUS"] == "2"


def test_the_cpus_are_one_node() -> None:
    (node,) = pool.planned([])
    assert (node.name, node.environ) == ("cpu", {"STEPSIZE_DEVICE": "cpu"})


@pytest.mark.parametrize(
    ("found", "options"),
    [
        (CARDS, {"gpus_per_job": 3}),
        (CARDS, {"gpus_per_job": 2, "per_gpu": 2}),
        ([], {"gpus_per_job": 2}),
        ([], {"per_gpu": 2}),
    ],
)
def test_cards_that_cannot_be_shared_so(found: list[Card], options: dict[str, int]) -> None:
    with pytest.raises(StepsizeError, match="GPU"):
        pool.planned(found, **options)
