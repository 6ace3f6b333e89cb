"""Signals wait for the end of the work."""

import signal

import pytest

from worker.drain import Drain, holding_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_signal_only_sets_the_flag(number: signal.Signals) -> None:
    delivered: list[int] = []
    before = signal.signal(number, lambda got, _: delivered.append(got))
    try:
        drain = Drain()
        with holding_signals(drain):
            assert not drain.asked
            signal.raise_signal(number)
        assert (drain.asked, delivered) == (True, [])
        signal.raise_signal(number)
        assert delivered == [number]
    finally:
        signal.signal(number, before)
