"""Curves as text: eight dots a character, with axes, in as much room as there is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLORS = ("cyan", "yellow", "magenta", "green", "blue", "red")
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""What each dot of a character adds to its code, by row and column."""

BLANK = 0x2800
NARROWEST = 10
NOISY = 60
"""Points from which on a curve is drawn smooth, by the mean of a thirtieth of them."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Points that are joined from left to right; what is not finite breaks the line."""

    x: NDArray[Any]
    y: NDArray[Any]
    color: str = COLORS[0]


def with_ghosts(curves: Sequence[Curve], limits: tuple[float, float]) -> list[Curve]:
    """Of noisy curves what they do on the whole, bright over themselves, which are dim."""
    import numpy as np  # noqa: PLC0415 - heavy, and many commands draw nothing

    ghosts, lines = [], []
    for curve in curves:
        if len(curve.y) < NOISY:
            lines.append(curve)
            continue
        ghosts.append(replace(curve, color=f"dim {curve.color}"))
        whole = np.isfinite(curve.y)
        # where it diverges, one loss would lift all its neighbours out of the chart
        y = np.where(whole, np.clip(curve.y, *limits), 0.0)
        near = np.ones(2 * (len(y) // NOISY) + 1)
        weight = np.convolve(whole, near, "same")
        mean = np.convolve(y, near, "same") / np.maximum(weight, 1)
        lines.append(replace(curve, y=np.where(whole, mean, np.nan)))
    return ghosts + lines


@dataclass(frozen=True, eq=False)
class Chart:
    """Curves on common axes, `height` lines high and as wide as the terminal is.

    `marks` are places on the x axis, drawn as columns of dots, by color.
    """

    curves: Sequence[Curve]
    height: int
    limits: tuple[float, float]
    title: str = ""
    log_x: bool = False
    marks: Sequence[tuple[float, str]] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.lines(options.max_width, ascii_only=options.ascii_only)

    def lines(self, width: int, *, ascii_only: bool = False) -> Iterator[Text]:
        """The chart from top to bottom, titles and axes included."""
        rows = max(self.height - 2, 2)
        low, high = self.limits
        ticks = {0: high, rows // 2: high - (high - low) * (rows // 2) / (rows - 1), rows - 1: low}
        names = {row: f"{value:.3g}" for row, value in ticks.items()}
        margin = max(map(len, names.values())) + 1
        across = max(width - margin - 1, NARROWEST)
        cells = self._cells(across, rows)
        yield Text(f"{'':{margin}} {self.title}"[:width], style="bold")
        for row in range(rows):
            line = Text(no_wrap=True)
            axis = "|" if ascii_only else "│"
            line.append(f"{names.get(row, ''):>{margin - 1}} {axis}", style="dim")
            for code, color in cells[row]:
                shown = (" *"[code > 0]) if ascii_only else chr(BLANK + code) if code else " "
                line.append(shown, style=color)
            yield line
        yield Text(" " * (margin + 1) + self._scale(across), style="dim", no_wrap=True)

    def _span(self) -> tuple[float, float]:
        places = [each.x[(each.x > 0) | (not self.log_x)] for each in self.curves]
        ends = [float(end) for each in places if len(each) for end in (each.min(), each.max())]
        if not ends:
            return (1.0, 10.0) if self.log_x else (0.0, 1.0)
        low, high = min(ends), max(ends)
        if low == high:
            high = low * 10 if self.log_x else low + 1
        return low, high

    def _scale(self, across: int) -> str:
        """The values at both ends of the x axis and in its middle."""
        low, high = self._span()
        middle = math.sqrt(low * high) if self.log_x else (low + high) / 2
        left, center, right = (
            f"{each:.2g}" if self.log_x or abs(each) < 1 else f"{each:,.0f}"
            for each in (low, middle, high)
        )
        room = across - len(left) - len(right)
        return f"{left}{center:^{room}}{right}" if room > len(center) else left

    def _cells(self, across: int, rows: int) -> list[list[tuple[int, str]]]:
        """The code and the color of each character, row by row."""
        cells = [[(0, "")] * across for _ in range(rows)]
        for x, y, color in self._dots(2 * across, 4 * rows):
            if 0 <= x < 2 * across and 0 <= y < 4 * rows:
                code, _ = cells[y // 4][x // 2]
                cells[y // 4][x // 2] = (code | DOTS[y % 4][x % 2], color)
        return cells

    def _dots(self, across: int, down: int) -> Iterator[tuple[int, int, str]]:
        import numpy as np  # noqa: PLC0415 - heavy, and many commands draw nothing

        left, right = self._span()
        bottom, top = self.limits

        def place(x: NDArray[Any]) -> NDArray[Any]:
            if self.log_x:
                share = np.log(np.maximum(x, left) / left) / math.log(right / left)
            else:
                share = (x - left) / (right - left)
            return np.asarray(share * (across - 1))

        for mark, color in self.marks:
            x = round(float(place(np.array([mark]))[0]))
            yield from ((x, y, color) for y in range(0, down, 2))
        for curve in self.curves:
            height = np.clip((top - curve.y) / ((top - bottom) or 1.0), -0.5, 1.5) * (down - 1)
            before: tuple[float, float] | None = None
            for x, y in zip(place(curve.x).tolist(), height.tolist(), strict=True):
                here = (x, y) if math.isfinite(x) and math.isfinite(y) else None
                if here is not None:
                    yield from ((*dot, curve.color) for dot in _between(before or here, here))
                before = here


def _between(a: tuple[float, float], b: tuple[float, float]) -> Iterator[tuple[int, int]]:
    """The dots of a straight line, both ends included."""
    steps = max(math.ceil(abs(b[0] - a[0])), math.ceil(abs(b[1] - a[1])), 1)
    for step in range(steps + 1):
        share = step / steps
        yield round(a[0] + share * (b[0] - a[0])), round(a[1] + share * (b[1] - a[1]))
