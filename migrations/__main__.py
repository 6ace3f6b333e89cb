"""Upgrades the database named by STEPSIZE_DATABASE_URL to the newest schema."""

import os
import sys

from migrations.run import upgrade
from spec.settings import DatabaseSettings, SettingsError
from store.database import BadUrlError, Unavailable, connect, describe


def main() -> int:
    """Upgrades, and says to which revision."""
    try:
        settings = DatabaseSettings.read(os.environ)
        sessions = connect(settings.database_url)
        revision = upgrade(sessions)
    except (SettingsError, BadUrlError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command speaks to its terminal
        return 2
    except Unavailable as error:
        print(f"cannot upgrade the database: {describe(error)}", file=sys.stderr)  # noqa: T201 - as above
        return 1
    print(f"the database is at revision {revision}")  # noqa: T201 - as above
    return 0


if __name__ == "__main__":
    sys.exit(main())
