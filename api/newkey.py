"""Makes an API key in the database itself, for the first one: `python -m api.newkey '{...}'`."""

import os
import sys

from pydantic import ValidationError

from api.keys import KeySpec, NewKeyOut, made
from spec.access import Caller
from spec.settings import DatabaseSettings, SettingsError
from store.database import BadUrlError, Unavailable, connect, describe

HERE = Caller(name="stepsize keys create")


def main() -> int:
    """Prints the answer of `POST /v1/keys` to the body given as the only argument."""
    try:
        spec = KeySpec.model_validate_json(sys.argv[1])
        sessions = connect(DatabaseSettings.read(os.environ).database_url)
        with sessions.begin() as tx:
            key, secret = made(tx, spec, by=HERE)
    except ValidationError as error:
        wrong = "; ".join(f"{each['loc'][0]}: {each['msg']}" for each in error.errors())
        print(wrong, file=sys.stderr)  # noqa: T201 - a command speaks to its terminal
        return 2
    except (SettingsError, BadUrlError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - as above
        return 2
    except Unavailable as error:
        hint = "does it need `stepsize migrate`?"
        print(f"the database does not take a key: {describe(error)} ({hint})", file=sys.stderr)  # noqa: T201 - as above
        return 1
    print(NewKeyOut.of(key, secret=secret).model_dump_json())  # noqa: T201 - as above
    return 0


if __name__ == "__main__":
    sys.exit(main())
