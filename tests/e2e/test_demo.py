"""The demonstration, as a new user sees it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from stepsize import Client
from tests.e2e.service import eventually
from tests.e2e.test_up import processes_of


def test_shows_a_range_test_and_the_training_it_leads_to(tmp_path: Path) -> None:
    folder, said, noted = tmp_path / "out", tmp_path / "stdout", tmp_path / "stderr"
    with said.open("w") as out, noted.open("w") as err:
        demo = subprocess.Popen(
            [sys.executable, "-m", "stepsize", "demo", "--keep", "--output", str(folder)],
            stdout=out,
            stderr=err,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    try:
        eventually(
            lambda: "the service stays on" in noted.read_text() or demo.poll() is not None,
            within=100,
        )
        assert demo.poll() is None, noted.read_text()
        answer = said.read_text()
        url = re.search(r"http://127\.0\.0\.1:\d+", answer)
        assert url is not None
        with Client(url[0]) as client:
            trained, tested = client.jobs()
        assert (tested.kind, trained.kind) == ("range_test", "training")
        assert trained.spec["schedule"]["max_lr"] == {"range_test": tested.id}
        assert f"suggested max_lr     {tested.suggestion.max_lr:.3g}" in answer
        assert trained.result is not None
        assert f"validation accuracy  {trained.result['val_accuracy']:.2%}" in answer
        assert trained.result["val_accuracy"] > 0.9
        for name in ("range-test.png", "training.png"):
            assert (folder / name).read_bytes().startswith(b"\x89PNG")
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=30) == 0
        assert processes_of(folder / "stepsize-data") == []
    finally:
        demo.kill()
        demo.wait()
