"""Says whether this machine's worker has been heard of lately: `python -m worker.health`."""

import os
import socket
import sys

from spec.settings import Settings, SettingsError
from store import workers
from store.database import Unavailable, connect, describe


def main() -> int:
    """Asks the database, as the API does when it lists workers; 0 is healthy."""
    try:
        settings = Settings.read(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command speaks to its terminal
        return 2
    sessions = connect(settings.database_url)
    try:
        with sessions.read() as tx:
            found = workers.find(tx, lost_after=settings.lease)
    except Unavailable as error:
        print(f"cannot ask the database: {describe(error)}", file=sys.stderr)  # noqa: T201 - as above
        return 1
    finally:
        sessions.close()
    here = socket.gethostname()
    if any(each.state != "lost" and each.name.endswith(f"@{here}") for each in found):
        return 0
    print(f"no worker of {here} has reported itself within {settings.lease}", file=sys.stderr)  # noqa: T201 - as above
    return 1


if __name__ == "__main__":
    sys.exit(main())
