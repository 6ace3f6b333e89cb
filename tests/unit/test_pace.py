"""A caller asks no more often than it may, in any minute."""

from hypothesis import given
from hypothesis import strategies as st

from api.pace import Pace


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_each_caller_has_a_pace_of_its_own() -> None:
    pace = Pace(2, clock=Clock())
    assert [pace.delay(who) > 0 for who in "aabab"] == [False, False, False, True, False]


@given(st.integers(1, 5), st.floats(0, 200), st.lists(st.floats(0, 30), max_size=40))
def test_who_waits_as_long_as_was_said_is_answered(
    per_minute: int, began: float, pauses: list[float]
) -> None:
    clock = Clock(began)
    pace = Pace(per_minute, clock=clock)
    for pause in pauses:
        clock.now += pause
        wait = pace.delay("a")
        assert 0 <= wait <= 121
        if wait:
            clock.now += wait + 1e-6
            assert pace.delay("a") == 0


@given(st.integers(1, 10), st.floats(0, 59))
def test_no_more_at_once_than_the_limit(per_minute: int, began: float) -> None:
    pace = Pace(per_minute, clock=Clock(began))
    answered = [pace.delay("a") == 0 for _ in range(2 * per_minute)]
    assert answered == [True] * per_minute + [False] * per_minute


def test_an_even_pace_is_never_held_up() -> None:
    clock = Clock()
    pace = Pace(60, clock=clock)
    for _ in range(600):
        clock.now += 1.02
        assert pace.delay("a") == 0
