"""The thread that leads sweeps on: what comes next, which held jobs go, what is spent or done."""

import logging
import threading
from collections.abc import Mapping
from datetime import timedelta
from time import monotonic

from api import choosing
from api.broker import Broker
from api.components import Catalogue
from api.problems import InvalidError
from spec.access import Caller
from spec.recipes import RecipeSpec
from spec.states import State
from spec.sweeps import SweepSpec
from store import owners, sweep_moves, sweeps
from store.database import ReadTx, Sessions, Unavailable, WriteTx, describe
from store.jobs import Job
from store.sweeps import Sweep, UnreadableSpecError

log = logging.getLogger(__name__)

SWEEPER = "sweeper"

EVERY = 0.5
"""Seconds between two looks for sweeps."""

SOON, LIVELY = 0.15, 10.0
"""Seconds to the next look, for so long after jobs have moved: somebody may wait for the end."""

ANYWAY = 10
"""Looks after which a sweep is led on although none of its jobs has moved: its time may be over."""


LOST_AFTER = timedelta(minutes=1)
"""Without a word, as which a worker is lost where nothing else is said."""


class Sweeper:
    """One per API process; they may lead the same sweep on, and take turns then."""

    def __init__(
        self, sessions: Sessions, broker: Broker, *, lost_after: timedelta = LOST_AFTER
    ) -> None:
        self._lost_after = lost_after
        self._sessions = sessions
        self._broker = broker
        self._seen: Mapping[str, Mapping[State, int]] = {}
        self._aside: set[str] = set()
        self._looks = 0
        self._moved = -LIVELY
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the pass under way."""
        self._stop.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.wait(SOON if monotonic() - self._moved < LIVELY else EVERY):
            try:
                self.step()
            except Unavailable as error:
                log.warning("sweeps.failed %s", describe(error))
            except Exception:
                log.exception("sweeps.failed")

    def step(self) -> None:
        """Leads on every sweep whose jobs have moved since the last pass."""
        with self._sessions.read() as tx:
            ids = sweeps.open_ids(tx)
            now = sweeps.counts(tx, ids) if ids else {}
        if now != self._seen:
            self._moved = monotonic()
        self._looks += 1
        if self._looks % ANYWAY == 0:
            self._seen = {}
        for sweep_id in ids:
            if self._seen.get(sweep_id) != now[sweep_id]:
                self._lead_on(sweep_id)
        self._seen = now

    def _lead_on(self, sweep_id: str) -> None:
        try:
            with self._sessions.begin() as tx:
                freed = advance(tx, sweep_id, self._catalogue())
        except Unavailable:
            raise
        except UnreadableSpecError as error:
            self._set_aside(sweep_id, error)
            return
        except Exception:  # one that cannot be led on must not hold up the others
            log.exception("sweep.failed sweep=%s", sweep_id)
            return
        for job in freed:
            self._broker.wake(job.queue, job.id)

    def _catalogue(self) -> Catalogue:
        """With what no worker offers just now: a sweep does not end because one is restarted."""
        return Catalogue.of(self._sessions, lost_after=self._lost_after, remembered=True)

    def _set_aside(self, sweep_id: str, error: UnreadableSpecError) -> None:
        """Begins nothing more of a sweep that another version may understand; it can still end."""
        if sweep_id not in self._aside:
            self._aside.add(sweep_id)
            log.warning("sweep.unreadable %s", error)
        with self._sessions.begin() as tx:
            sweep = sweeps.lock(tx, sweep_id)
            if sweep is not None and sweep.finished_at is None:
                sweep_moves.settle(tx, sweep)


def advance(tx: WriteTx, sweep_id: str, catalogue: Catalogue) -> list[Job]:
    """Does whatever is to be done for a sweep now; the jobs that a worker may take from now on.

    Two who do this at once take turns, and the second finds nothing to do.

    Raises:
        UnreadableSpecError: another version of the code has begun it.
    """
    sweep = sweeps.lock(tx, sweep_id)
    if sweep is None or sweep.finished_at is not None:
        return []
    spec = sweeps.spec_of(sweep)
    by = Caller(owner=sweep.owner, name=SWEEPER)
    seconds = spec.budget.seconds
    stopped = sweep_moves.stopped(sweep)
    if seconds and not stopped and sweeps.age(tx, sweep.id) > timedelta(seconds=seconds):
        detail = f"its budget of {seconds:g} s is spent"
        sweep = sweep_moves.end(tx, sweep, detail, by=by)
    if not choosing.learns(spec) and not sweep.ending:  # it has been retried
        sweep = sweeps.change(tx, sweep, ending=sweep_moves.DONE)
    elif not sweep.ending and sweep.state != State.PAUSED:
        sweep = _choose(tx, sweep, spec, by, catalogue)
    freed = choosing.let_go(tx, sweep, spec, by=by)
    sweep_moves.settle(tx, sweeps.lock(tx, sweep_id) or sweep)
    return freed


def _is_over_limit(tx: ReadTx, by: Caller) -> bool:
    """Whether its owner has too much: the sweep waits until there is room again."""
    try:
        owners.check(tx, by.owner)
    except owners.OverLimitError:
        return True
    return False


def _choose(
    tx: WriteTx, sweep: Sweep, spec: SweepSpec | RecipeSpec, by: Caller, catalogue: Catalogue
) -> Sweep:
    open_now = sweep_moves.under_way(tx, sweep.id)
    room = choosing.ahead(spec) - open_now
    if room <= 0 or _is_over_limit(tx, by):
        return sweep
    trials = choosing.told(sweeps.trials_of(tx, sweep.id), spec.objective)
    try:
        choices = choosing.next_of(spec, trials, room, catalogue)
        if choices:
            choosing.add(tx, sweep, choices, by=by, first=len(trials), held=True)
    except InvalidError as error:
        wrong = "; ".join(f"{each.pointer}: {each.detail}" for each in error.errors)
        log.warning("sweep.ended sweep=%s %s", sweep.id, wrong)
        return sweep_moves.end(tx, sweep, f"a configuration makes no job: {wrong}", by=by)
    if not choices and all(each.ended for each in trials):
        why = choosing.stuck(spec, trials)
        ending = sweep_moves.DONE if why is None else f"{sweep_moves.STUCK}{why}"
        return sweeps.change(tx, sweep, ending=ending)
    return sweep
