"""The engine runs on a machine that has torch, numpy and pydantic, and nothing else of ours."""

import subprocess
import sys

PROGRAM = """
import sys

OTHERS = {"alembic", "celery", "fastapi", "httpx", "redis", "sklearn", "sqlalchemy", "typer"}
for name in OTHERS:
    sys.modules[name] = None  # an import of it fails

from pathlib import Path

import torch

from spec.jobs import JOB_SPEC
from worker.engine import run

spec = JOB_SPEC.validate_python({
    "kind": "range_test",
    "model": {"name": "lenet"},
    "data": {"name": "synthetic", "params": {"examples": 100}},
    "batch_size": 10,
    "optimizer": {"name": "adam"},
    "range": {"iterations": 20},
})
*_, finished = run(spec, device=torch.device("cpu"), data_dir=Path("nowhere"))
print(finished.result["iterations"])
ours = {name.split(".")[0] for name, module in sys.modules.items() if module}
print(*sorted(ours & {*OTHERS, "api", "migrations", "stepsize", "store", "uvicorn"}))
"""


def test_the_engine_needs_no_database_queue_or_web_framework() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    iterations, others = done.stdout.splitlines()
    assert 20 <= int(iterations) <= 60
    assert others == ""
