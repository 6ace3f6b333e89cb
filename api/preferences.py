"""The Prefer header (RFC 7240): for how long a client would wait for a change."""

import re
from collections.abc import Sequence

LONGEST = 60
"""Seconds that an answer is held back at most."""

_WAIT = re.compile(r'wait\s*=\s*"?(\d{1,9})"?\s*(;.*)?', re.IGNORECASE)


def wait(prefer: Sequence[str]) -> int | None:
    """Seconds, 1 to LONGEST, by the first `wait` of the headers; None where there is none.

    What cannot be understood is passed over: a preference is no order.
    """
    for each in ",".join(prefer).split(","):
        if found := _WAIT.fullmatch(each.strip()):
            return min(int(found[1]), LONGEST) or None
    return None
