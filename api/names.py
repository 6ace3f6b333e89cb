"""Names of quantities in a query, and the series that these are of."""

import re

from api.problems import InvalidError
from store.series import SERIES

METRIC = re.compile(r"val_[a-z0-9][a-z0-9_.-]{0,63}")
"""A name of the validation series: which metrics there are, workers' plug-ins say."""


def names_of(wanted: str) -> tuple[list[str], str]:
    """The names, and the series that they are of.

    Raises:
        InvalidError: there is no such name, or they have not the same iterations.
    """
    names = list(dict.fromkeys(name.strip() for name in wanted.split(",")))
    home = {name: which for which, members in SERIES.items() for name in members}
    for name in names:
        if METRIC.fullmatch(name):
            home.setdefault(name, "validation")
        if name not in home:
            known = ", ".join([*home, "val_<metric>"])
            raise InvalidError.at("/names", f"unknown: '{name}'; known: {known}")
        if home[name] != home[names[0]]:
            detail = f"{name} and {names[0]} have iterations of their own; ask for one at a time"
            raise InvalidError.at("/names", detail)
    return names, home[names[0]]
