"""Which library draws the curves of the dashboard best: size, time, and what it asks of a page?"""

import argparse
import gzip
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from importlib.metadata import version
from importlib.resources.abc import Traversable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, sync_playwright
from tables import machine, show

from api.middleware import CONTENT_POLICY

CURVES = (1, 10, 50)
POINTS = 1_000
REPETITIONS = 15
COMPRESSION = 1
"""What the API compresses with."""

PAGE = """<!doctype html><html lang=en><meta charset=utf-8><title>charts</title>
{styles}{scripts}<div id=at></div>"""

DATA = """
const random = (() => { let s = 1; return () => (s = (s * 16807) % 2147483647) / 2147483647; })();
window.data = (curves, points) => Array.from({length: curves}, (_, c) => ({
  x: Array.from({length: points}, (_, i) => i + 1),
  y: Array.from({length: points}, (_, i) =>
    0.1 + (2 + c / 20) * Math.exp(-i / 300) + 0.1 * random()),
}));
"""
"""Losses that fall, with noise, of every curve its own."""

DRAWERS = {
    "own": """
import {createChart} from "/dashboard/charts/chart.js";
window.draw = (curves) => {
  const chart = createChart("loss", 400);
  document.getElementById("at").replaceChildren(chart.element);
  const axis = (limits) => ({label: "x", log: true, limits});
  chart.update({x: axis([1, 1000]), y: axis([0.1, 6]),
    curves: curves.map((c, i) => ({label: `c${i}`, tone: 1 + i % 4, ...c}))});
};
""",
    "uPlot": """
window.draw = (curves) => {
  const at = document.getElementById("at");
  at.replaceChildren();
  const series = curves.map((_, i) => ({label: `c${i}`, stroke: `hsl(${i * 37} 60% 45%)`,
    points: {show: false}}));
  new uPlot({width: at.clientWidth, height: 400, series: [{}, ...series],
    scales: {x: {time: false, distr: 3}, y: {distr: 3}}},
    [curves[0].x, ...curves.map((c) => c.y)], at);
};
""",
    "Plotly": """
window.draw = (curves) => {
  const at = document.getElementById("at");
  at.replaceChildren();
  Plotly.newPlot(at, curves.map((c, i) => ({...c, name: `c${i}`, mode: "lines"})),
    {height: 400, xaxis: {type: "log"}, yaxis: {type: "log"}});
};
""",
    "dygraphs": """
window.draw = (curves) => {
  const at = document.getElementById("at");
  at.replaceChildren();
  at.style.height = "400px";
  const rows = curves[0].x.map((x, i) => [x, ...curves.map((c) => c.y[i])]);
  new Dygraph(at, rows, {labels: ["x", ...curves.map((_, i) => `c${i}`)], logscale: true,
    axes: {x: {logscale: true}}});
};
""",
}
"""What draws curves with both axes logarithmic, from nothing."""

ASSETS = {
    "own": ("dashboard", ["charts/chart.js"]),
    "uPlot": ("youplot", ["vendor/uplot.iife.min.js", "vendor/uplot.min.css"]),
    "Plotly": ("plotly", ["package_data/plotly.min.js"]),
    "dygraphs": ("dygraphs", ["assets/dygraph-combined.js", "assets/dygraph.css"]),
}
"""The package that carries each, and the files that a page needs of it."""


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder, under the policy of the dashboard."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".js": "text/javascript"}

    def end_headers(self) -> None:
        """Ends them with the policy."""
        self.send_header("Content-Security-Policy", CONTENT_POLICY)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is inherited
        """Says nothing."""


def main() -> None:
    """Measures every library that is installed, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        raise SystemExit("this needs a browser: apt-get install chromium")
    rows = []
    with TemporaryDirectory() as folder, serving(Path(folder)) as origin, sync_playwright() as tool:
        browser = tool.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        for name in DRAWERS:
            size = lay_out(Path(folder), name)
            if size is None:
                print(f"{name} is not installed: pip install {ASSETS[name][0]}")
            else:
                rows.append([name, *size, *measure(browser, origin)])
        browser.close()
    show(
        "chart libraries under the policy of the dashboard",
        ["", "version", "kB", "kB gzipped", *(f"{n} curves, ms" for n in CURVES), "it violates"],
        rows,
        notes=[
            f"Curves of {POINTS:,} points, both axes logarithmic, in a new chart: until the frame",
            f"is drawn, the median of {REPETITIONS}. gzip as the API compresses. Canvas and SVG",
            "are drawn by the CPU.",
            machine(),
        ],
        markdown=arguments.markdown,
    )


def lay_out(folder: Path, name: str) -> tuple[str, str, str] | None:
    """Makes the page of one library; version and size of its files, None where there are none."""
    package, files = ASSETS[name]
    try:
        root = resources.files(package)
    except ModuleNotFoundError:
        return None
    used = modules(root) if name == "own" else {each: root.joinpath(each) for each in files}
    styles, scripts = "", '<script src="data.js"></script>'
    for path, file in used.items():
        target = folder / package / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
        address = f"{package}/{path}"
        if path.endswith(".css"):
            styles += f'<link rel="stylesheet" href="{address}">'
        elif name != "own":
            scripts += f'<script src="{address}"></script>'
    kind = ' type="module"' if name == "own" else ""
    scripts += f'<script{kind} src="draw.js"></script>'
    (folder / "data.js").write_text(DATA)
    (folder / "draw.js").write_text(DRAWERS[name])
    (folder / "index.html").write_text(PAGE.format(styles=styles, scripts=scripts))
    contents = [file.read_bytes() for file in used.values()]
    packed = sum(len(gzip.compress(each, COMPRESSION)) for each in contents)
    own = "" if name == "own" else version(package)
    return own, f"{sum(map(len, contents)) / 1e3:.0f}", f"{packed / 1e3:.0f}"


def modules(root: Traversable) -> dict[str, Traversable]:
    """What a chart of the dashboard consists of."""
    charts = [each for each in root.joinpath("charts").iterdir() if each.name.endswith(".js")]
    found = {f"charts/{each.name}": each for each in charts}
    return found | {name: root.joinpath(name) for name in ("dom.js", "numbers.js", "parts.css")}


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The origin of a server of a folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def measure(browser: Browser, origin: str) -> list[str]:
    """Milliseconds for each number of curves, and what the browser complains of."""
    complaints = set()

    def said(message: ConsoleMessage) -> None:
        if message.type == "error":
            for policy in ("style-src", "script-src", "trusted", "font-src", "connect-src"):
                if policy in message.text.lower():
                    complaints.add(policy if policy != "trusted" else "trusted types")

    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.on("console", said)
    page.goto(origin)
    times = []
    for curves in CURVES:
        try:
            times.append(f"{median(page.evaluate(TIMED, [curves, POINTS, REPETITIONS])):.0f}")
        except Exception as error:  # noqa: BLE001 - whatever the library throws is a result
            complaints.add(f"does not draw ({str(error).split(':')[1].strip()})")
            times.append("-")
    page.close()
    return [*times, ", ".join(sorted(complaints)) or "nothing"]


TIMED = """async ([curves, points, repetitions]) => {
  const frame = () => new Promise((done) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => done(performance.now());
    channel.port2.postMessage(null);
  }));
  const times = [];
  const series = window.data(curves, points);
  for (let i = 0; i < repetitions; i++) {
    await frame();
    const began = performance.now();
    window.draw(series);
    times.push(await frame() - began);
  }
  return times;
}"""
"""From the call until the frame after it is painted."""


if __name__ == "__main__":
    main()
