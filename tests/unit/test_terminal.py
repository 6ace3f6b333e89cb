"""Charts in the terminal, in any width, and lines where there is none."""

import io
import re
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from stepsize import Job
from stepsize.braille import BLANK, Chart, Curve, with_ghosts
from stepsize.limits import loss_limits
from stepsize.live import LiveChart
from stepsize.progress import follow
from tests.recorded import Recorded, checked, falling, range_test, training

LINE = Chart([Curve(np.arange(11), np.arange(11.0))], height=12, limits=(0.0, 10.0), title="up")


def dots(text: str) -> int:
    return sum((ord(each) - BLANK).bit_count() for each in text if BLANK < ord(each) < BLANK + 256)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_chart_is_as_wide_as_there_is_room(width: int) -> None:
    lines = [line.plain for line in LINE.lines(width)]
    assert len(lines) == 12
    assert max(map(len, lines)) == width
    body = lines[1:-1]
    # from the lower left to the upper right corner
    assert dots(body[-1][:8]) > 0
    assert dots(body[0][-3:]) > 0
    assert dots(body[0][:20]) == dots(body[-1][-10:]) == 0
    assert body[0].lstrip().startswith("10 ")
    assert re.search(r"│\S*$", body[0].replace(" ", "")) is not None
    assert lines[-1].split() == ["0", "5", "10"]


def test_what_is_not_finite_breaks_the_line() -> None:
    y = np.array([5.0, 5.0, np.nan, 5.0, 5.0])
    chart = Chart([Curve(np.arange(5), y)], height=6, limits=(0.0, 10.0))
    row = next(line.plain for line in chart.lines(80) if dots(line.plain))
    inner = row.partition("│")[2]
    assert re.search(r"\S {15,}\S", inner)


def test_a_plain_terminal_gets_plain_letters() -> None:
    text = "\n".join(line.plain for line in LINE.lines(60, ascii_only=True))
    assert text.isascii()
    assert text.count("*") > 40


def test_equal_values_and_no_points_are_charts_too() -> None:
    for x, y in (([], []), ([3], [1.0]), ([3, 3], [1.0, 1.0])):
        chart = Chart([Curve(np.array(x), np.array(y))], height=6, limits=(1.0, 1.0), log_x=True)
        assert len(list(chart.lines(60))) == 6


def test_a_noisy_curve_is_drawn_smooth_over_itself() -> None:
    x = np.arange(300)
    y = np.where(x % 2, 1.0, 3.0)
    y[100], y[299] = np.nan, 1e9
    few = Curve(x[:20], y[:20], "red")
    ghost, line, plain = with_ghosts([Curve(x, y, "cyan"), few], (0.0, 4.0))
    assert (ghost.color, line.color, plain) == ("dim cyan", "cyan", few)
    np.testing.assert_array_equal(ghost.y, y)
    assert np.isnan(line.y[100])
    np.testing.assert_allclose(line.y[20:90], 2.0, atol=0.15)
    assert line.y[299] < 4


def test_limits_leave_out_where_it_diverges() -> None:
    low, high = loss_limits([np.array([2.0, 1.5, 1.0, 1e9, np.inf])])
    assert 0.8 < low < 1
    assert 2 < high < 3
    assert loss_limits([np.array([1.0, 1e-6])])[0] == 0  # no loss here is negative


def terminal(width: int = 80, height: int = 24) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=height)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (40, 12), (80, 5)])
def test_a_job_is_a_chart_that_fits(width: int, height: int) -> None:
    server = Recorded()
    server.add(
        training(spec={"evaluate": {"every": {"epochs": 1}}}),
        [falling(300), checked(100, 200, 300)],
    )
    client = server.client()
    console = terminal(width, height)
    chart = LiveChart(client, console)
    chart.show(client.job("job_t"), 0.3)
    chart.stop()
    with console.capture() as capture:
        console.print(chart)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capture.get()).splitlines()
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    assert "300/300" in lines[-1]
    assert ("loss" in lines[0]) == (height > 8)
    assert any("learning rate" in line for line in lines) == (height > 18)


def test_a_range_test_lies_along_its_rates_with_its_suggestion() -> None:
    server = Recorded()
    ramp = {"iteration": np.arange(100), "lr": np.geomspace(1e-5, 10, 100)}
    loss = {"loss": np.linspace(2, 1, 100)}
    server.add(range_test(), [ramp | loss], [ramp | loss])
    client = server.client()
    console = terminal()
    assert follow(client, "job_r", console=console, chart=True).succeeded
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "loss by learning rate" in text
    assert "1e-05" in text
    assert "\x1b[1;32m" in text  # the suggestion


def test_lines_say_what_is_new_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Recorded()
    server.add(training(), [falling(300)])
    client = server.client()
    now = [0.0]

    def looks() -> Iterator[Job]:
        for at, state, done in (
            (0, "queued", 0),
            (1, "running", 0),
            (2, "running", 10),
            (20, "running", 20),
            (21, "succeeded", 300),
        ):
            now[0] = at
            progress = {"iteration": done, "iterations": 300}
            yield Job.model_validate(training(state=state, progress=progress))

    monkeypatch.setattr(client, "watch", lambda *_, **__: looks())
    monkeypatch.setattr("stepsize.progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    console = Console(file=io.StringIO(), width=80)
    follow(client, "job_t", console=console, chart=True)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.split("  ")[0] for line in lines] == [
        "job_t queued",
        "job_t running",
        "job_t running",
        "job_t succeeded",
    ]
    assert "20/300  loss" in lines[2]
