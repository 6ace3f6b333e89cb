"""Serves the API: `python -m api`, configured by the environment."""

import logging
import os
import sys

import uvicorn

from api.app import LOOPBACK, create_app
from api.broker import Broker
from spec.settings import Settings, SettingsError
from store.database import BadUrlError, connect
from store.files import FilesError, opened

REFUSAL = """refusing to listen on {host} without a key: whoever reaches it could run jobs.
Set STEPSIZE_API_KEY to a secret of 16 characters or more, or STEPSIZE_HOST to 127.0.0.1."""


def main() -> int:
    """Runs until a signal ends it."""
    try:
        settings = Settings.read(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command speaks to its terminal
        return 2
    if settings.host not in LOOPBACK and settings.api_key is None:
        print(REFUSAL.format(host=settings.host), file=sys.stderr)  # noqa: T201 - as above
        return 2
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    try:
        sessions = connect(settings.database_url)
        files = opened(settings.checkpoints)
    except (BadUrlError, FilesError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - as above
        return 2
    app = create_app(sessions, Broker(settings.broker_url), settings, files)
    uvicorn.run(app, host=settings.host, port=settings.port, log_config=None, access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
