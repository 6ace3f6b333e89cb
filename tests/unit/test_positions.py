"""Ids of events: they grow, they lead back to where a listener was, and no other text does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.positions import MOST, ForeignIdError, Position, Topic

ONE = Topic(("job_1",), ("loss",), "train", 0)
TWO = Topic(("job_1", "job_2"), ("loss",), "train", 0, many=True)

whole = st.integers(0, MOST)
positions = st.builds(Position, whole, whole, st.booleans())


@given(positions)
def test_an_id_leads_back(here: Position) -> None:
    assert Position.of(here.number) == here
    assert ONE.positions(ONE.id_of({"job_1": here})) == {"job_1": here}


@given(positions, positions)
def test_an_id_of_many_leads_back(one: Position, two: Position) -> None:
    at = {"job_1": one, "job_2": two}
    assert TWO.positions(TWO.id_of(at)) == at


@given(whole, whole, whole)
def test_an_id_grows_with_everything_that_is_told(version: int, start: int, more: int) -> None:
    here = Position(version, start)
    later = [
        Position(version, start, ended=True),
        Position(version, start + 1 + more),
        Position(version + 1 + more, start),
        Position(version + 1, start + more, ended=True),
    ]
    assert all(each.number > here.number for each in later)
    assert later[2].number > later[0].number  # a job that is retried after its end


def test_an_id_is_short() -> None:
    assert ONE.id_of({"job_1": Position(7, 100)}).startswith("11756")
    assert Position(1_000, 1_000_000).number * 1000 < 2**53
    crowd = Topic(tuple(f"job_{n}" for n in range(100)), ("loss",), "train", 0, many=True)
    assert len(crowd.id_of(dict.fromkeys(crowd.jobs, Position(10**5, 10**6)))) < 1500


@given(st.text() | st.integers().map(str) | st.from_regex(r"\A\d+-\d+(-[0-9a-f]+)*\Z"))
def test_other_texts_are_no_ids(text: str) -> None:
    for topic in (ONE, TWO):
        try:
            at = topic.positions(text)
        except ForeignIdError:
            continue
        sum(each.number for each in at.values())
        assert text.lstrip("0").split("-")[0] in topic.id_of(at)  # by chance one of a thousand


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "-1", "1.5", "1e3", " 1", "1\n", "٣", "9" * 19, "9" * 300, "9" * 5000, "0x10"),
        *("-", "1-2", "1-2-", "1--1-1", "3-1-1-2", "g-1-1", "1-2-3-4-5", "1-" * 3000),
    ],
)
def test_what_is_no_id(text: str) -> None:
    for topic in (ONE, TWO):
        with pytest.raises(ForeignIdError):
            topic.positions(text)


def test_ids_of_other_streams_are_refused() -> None:
    known = ONE.id_of({"job_1": Position(7, 100)})
    for other in (
        Topic(("job_2",), ("loss",), "train", 0),
        Topic(("job_1",), ("loss",), "train", 1),
        Topic(("job_1",), ("val_loss",), "validation", 0),
        TWO,
    ):
        with pytest.raises(ForeignIdError):
            other.positions(known)
    assert Topic(("job_1",), ("lr",), "train", 0).positions(known)["job_1"].start == 100
