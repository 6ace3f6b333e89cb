"""Whether a library is installed, without importing it: that takes seconds."""

from difflib import get_close_matches
from importlib.util import find_spec

from spec.states import Reason
from worker.engine.errors import EngineError
from worker.engine.plugins import PluginError


def require(library: str) -> None:
    """Leave the components of a module out where its library is missing.

    Raises:
        PluginError: it is; the message says how to install it.
    """
    if find_spec(library) is None:
        raise PluginError(f"{library} is not installed: pip install 'stepsize[{library}]'")


def require_known(name: str, known: list[str], pointer: str) -> None:
    """Refuse a name that the library does not know.

    Raises:
        EngineError: INVALID, with names that are like it.
    """
    if name in known:
        return
    like = get_close_matches(name, known, n=5)
    hint = f"; there is {', '.join(like)}" if like else ""
    raise EngineError(Reason.INVALID, f"{pointer}: the library has no {name!r}{hint}")
