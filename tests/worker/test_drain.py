"""Signals wait for the end of the work, and then do what they were sent to do."""

import signal

import pytest

from worker.drain import Drain, holding_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_signal_is_held_back_and_then_delivered(number: signal.Signals) -> None:
    delivered: list[int] = []
    before = signal.signal(number, lambda got, _: delivered.append(got))
    try:
        drain = Drain()
        with holding_signals(drain):
            signal.raise_signal(number)
            assert (drain.asked, delivered) == (True, [])
        assert delivered == [number]
    finally:
        signal.signal(number, before)


def test_without_a_signal_nothing_happens() -> None:
    handler = signal.getsignal(signal.SIGTERM)
    drain = Drain()
    with holding_signals(drain):
        assert not drain.asked
    assert signal.getsignal(signal.SIGTERM) is handler
