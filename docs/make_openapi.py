# noqa: INP001 - a script, not a package
"""Writes openapi.json from the routes themselves: run it (`make openapi`) after a change of one."""

import json
from pathlib import Path

from api.app import create_app
from api.broker import Broker
from spec.settings import Settings
from store.database import connect

FILE = Path(__file__).parents[1] / "openapi.json"


def contract() -> str:
    """The text of the file."""
    settings = Settings(database_url="sqlite:///unused.db", broker_url="redis://unused")
    app = create_app(connect(settings.database_url), Broker(settings.broker_url), settings)
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(contract())
