"""What authors of plug-ins import: the values that their functions take and give.

| name | what it is |
|---|---|
| `Shape` | channels, height and width of an example, as a model is given them |
| `Arrays` | a dataset in memory, which a dataset function gives |
| `Ready` | a dataset of torch's kind, its splits wrapped in `ByIndex` or `OneByOne` |
| `within` | a path in the data directory, which none from a job may lead out of |
"""

from pathlib import Path

from worker.engine.models import Shape
from worker.engine.offered_data import Arrays
from worker.engine.sources import ByIndex, OneByOne, Ready

__all__ = ["Arrays", "ByIndex", "OneByOne", "Ready", "Shape", "within"]


def within(data_dir: Path, name: str) -> Path:
    """The file or folder of that name below the data directory.

    Raises:
        ValueError: it leads out of the directory, by `..`, from the root or by a link.
    """
    root = data_dir.resolve()
    found = (root / name).resolve()
    if not found.is_relative_to(root):
        raise ValueError(f"{name!r} leads out of the data directory")
    return found
