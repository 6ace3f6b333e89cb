"""Serves the API: `python -m api`, configured by the environment."""

import logging
import os
import sys
from contextlib import suppress
from types import FrameType

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from api.app import create_app
from api.broker import Broker
from api.changes import Changes
from spec.settings import LOOPBACK, Settings, SettingsError
from store import keys
from store.database import BadUrlError, Sessions, Unavailable, connect, describe
from store.files import FilesError, opened
from telemetry import logs, traces
from telemetry.traces import TracesError

log = logging.getLogger(__name__)

REFUSAL = """refusing to listen on {host} while there is no key: nobody could come in.
Make the first one with `stepsize keys create` in the database of STEPSIZE_DATABASE_URL, or with
`stepsize keys create --data-dir DIR` where this is `stepsize up`; or set STEPSIZE_API_KEY to a
secret of 16 characters or more; or listen on 127.0.0.1, where none is wanted."""


GRACE = 4
"""Seconds that answers may take which are under way when the server is asked to stop: a client that
reads nothing would hold it up for ever."""


class _Server(uvicorn.Server):
    """Lets requests and streams that wait for a change go when it is asked to stop."""

    def __init__(self, config: uvicorn.Config, changes: Changes) -> None:
        super().__init__(config)
        self._changes = changes

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._changes.close()
        super().handle_exit(sig, frame)


def main() -> int:
    """Runs until a signal ends it."""
    try:
        settings = Settings.read(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command speaks to its terminal
        return 2
    logs.configure(settings.log, secrets=settings.secrets)
    try:
        traces.start("stepsize-api", settings.otlp_endpoint)
        sessions = connect(settings.database_url)
        files = opened(settings.checkpoints)
    except (BadUrlError, FilesError, TracesError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - as above
        return 2
    if settings.host not in LOOPBACK and settings.api_key is None and not _has_key(sessions):
        print(REFUSAL.format(host=settings.host), file=sys.stderr)  # noqa: T201 - as above
        return 2
    app = create_app(sessions, Broker(settings.broker_url), settings, files)
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE,
        ),
        app.state.changes,
    )
    with suppress(KeyboardInterrupt):
        server.run()
    traces.stop()
    return 0 if server.started else STARTUP_FAILURE


def _has_key(sessions: Sessions) -> bool:
    try:
        with sessions.read() as tx:
            return keys.any_valid(tx)
    except Unavailable as error:
        log.warning("key.unknown %s", describe(error))
        return True  # it may come back; until then nobody comes in


if __name__ == "__main__":
    sys.exit(main())
