"""How fast is the dashboard in a browser: first load, curves, streaming, and what it keeps?"""

import argparse
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from bookkeeping import TRAINING
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from series_servers import mlflow, stepsize
from tables import machine, show

from migrations.run import upgrade
from spec.jobs import JOB_SPEC
from store import claims, jobs, leases
from store.chunks import Chunk
from store.database import Sessions, connect
from store.leases import Lease, Progress

CURVES = (1, 10, 50)
LENGTH = 10_000
"""Iterations of each job that is drawn; MLflow's runs have as many."""

TENURE = timedelta(minutes=30)
STREAMS = 5
ROWS = 200
"""Iterations in what a worker stores at once."""

EVERY = 0.5
WATCHED = 15.0
UPDATES = 3_600
"""Of a page that is told once a second, for an hour."""

REPETITIONS = 5
PATIENCE = 60_000
CLIENT = Path(__file__).parent / "peers" / "mlflow_client.py"

PAINTED = """(wanted) => [...document.querySelectorAll(wanted)].some((canvas) => {
  const {width, height} = canvas;
  return width && canvas.getContext("2d").getImageData(0, 0, width, height).data.some(Boolean);
})"""
"""Whether any canvas has something on it."""


@dataclass(frozen=True)
class Loaded:
    """A page from nothing: seconds until its curves are drawn, and what came over the line."""

    seconds: float
    requests: int
    bytes: int


def main() -> None:
    """Measures, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=UPDATES, help="of the page that is watched")
    parser.add_argument("--mlflow-python", type=Path, help="of an environment that has MLflow")
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        raise SystemExit("this needs a browser: apt-get install chromium")
    with sync_playwright() as tool:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--enable-precise-memory-info"]
        browser = tool.chromium.launch(executable_path=found, args=flags)
        with served() as (url, sessions):
            own = first_loads(browser, url, sessions)
            curves = drawn(browser, url, sessions)
            frames = streamed(browser, url, sessions)
            kept = held(browser, url, sessions, arguments.updates)
        rows = [["dashboard", *own]]
        if arguments.mlflow_python:
            rows.append(["MLflow", *beside(browser, arguments.mlflow_python)])
        browser.close()
    show(
        f"a job of {LENGTH:,} iterations, loss and learning rate, from an empty cache",
        ["", "until drawn, s", "requests", "kB"],
        rows,
        notes=[f"The median of {REPETITIONS}. kB as they came over the line.", machine()],
        markdown=arguments.markdown,
    )
    show(
        "the pages at work",
        ["", ""],
        [
            *([f"a comparison of {n} jobs, until drawn, ms", f"{s:.0f}"] for n, s in curves),
            *([f"{name} while {STREAMS} jobs stream, ms", f"{s:.0f}"] for name, s in frames),
            *([f"{name}, {arguments.updates:,} updates", words] for name, words in kept),
        ],
        notes=["500 points of each job are drawn in a comparison. Canvases are drawn by the CPU."],
        markdown=arguments.markdown,
    )


@contextmanager
def served() -> Iterator[tuple[str, Sessions]]:
    """The API of an empty database, and the database."""
    with TemporaryDirectory(prefix="bd") as folder:
        database = f"sqlite:///{folder}/stepsize.db"
        sessions = connect(database)
        upgrade(sessions)
        with stepsize(database, Path(folder)) as (url, _):
            yield url, sessions
        sessions.close()


def begun(sessions: Sessions, number: int) -> Lease:
    """A job that a worker has just begun."""
    spec = JOB_SPEC.validate_python({**TRAINING, "name": f"job {number}", "seed": number})
    with sessions.begin() as tx:
        jobs.add(tx, spec)
        claimed = claims.claim(tx, worker="w", queues=["default"], lease=TENURE)
        if claimed is None:
            raise SystemExit("the job that was just queued cannot be claimed")
        leases.plan(tx, claimed[1], start=0, iterations=1_000_000, resolved={})
    return claimed[1]


def record(sessions: Sessions, held: list[Lease], start: int, rows: int) -> None:
    """Stores so many rows of each job, as a worker does."""
    t = np.arange(start, start + rows)
    noise = np.random.default_rng(start).lognormal(0, 0.3, rows)
    loss = ((0.1 + 2.2 * np.exp(-t / 2000)) * noise).astype(np.float32)
    chunk = Chunk("train", 0, start, {"loss": loss, "lr": 0.05 + 1e-6 * t})
    with sessions.begin() as tx:
        leases.record(tx, [Progress(each, start + rows, [chunk]) for each in held], extend=TENURE)


def finished(sessions: Sessions, number: int) -> str:
    """A job with all its rows."""
    lease = begun(sessions, number)
    record(sessions, [lease], 0, LENGTH)
    with sessions.begin() as tx:
        leases.succeed(tx, lease, {"train_loss": 0.1, "val_accuracy": None, "diverged_at": None})
    return lease.job_id


def loaded(browser: Browser, url: str, done: Callable[[Page], object]) -> Loaded:
    """Opens a page with an empty cache."""
    context, page = opened(browser)
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    sizes: list[int] = []
    network.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    began = time.perf_counter()
    page.goto(url)
    done(page)
    seconds = time.perf_counter() - began
    page.wait_for_timeout(500)  # for the sizes of what came last
    found = Loaded(seconds, len(sizes), int(sum(sizes)))
    context.close()
    return found


def opened(browser: Browser) -> tuple[BrowserContext, Page]:
    """A page of a browser that knows nothing."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(PATIENCE)
    return context, context.new_page()


def summed_up(loads: list[Loaded]) -> list[str]:
    """Cells of the table of loads."""
    seconds = median(each.seconds for each in loads)
    size = median(each.bytes for each in loads)
    return [f"{seconds:.2f}", f"{median(each.requests for each in loads):.0f}", f"{size / 1e3:.0f}"]


def first_loads(browser: Browser, url: str, sessions: Sessions) -> list[str]:
    """The page of a job."""
    address = f"{url}/#/jobs/{finished(sessions, 0)}"
    wanted = "main canvas"

    def drawn(page: Page) -> None:
        page.wait_for_function(PAINTED, arg=wanted)

    return summed_up([loaded(browser, address, drawn) for _ in range(REPETITIONS)])


def drawn(browser: Browser, url: str, sessions: Sessions) -> list[tuple[int, float]]:
    """Milliseconds from choosing jobs to their comparison, the requests included."""
    ids = [finished(sessions, 1 + number) for number in range(max(CURVES))]
    found = []
    for curves in CURVES:
        address = f"#/compare?jobs={','.join(ids[:curves])}"
        times = []
        for _ in range(REPETITIONS):
            context, page = opened(browser)
            page.goto(f"{url}/#/workers")
            page.get_by_text("No worker").wait_for()
            times.append(page.evaluate(UNTIL_DRAWN, [address, curves]))
            context.close()
        found.append((curves, median(times)))
    return found


UNTIL_DRAWN = """async ([address, curves]) => {
  const began = performance.now();
  location.hash = address;
  const frame = () => new Promise(requestAnimationFrame);
  while (document.querySelectorAll("main .legend .swatch").length < curves) await frame();
  await frame();
  return performance.now() - began;
}"""


def streamed(browser: Browser, url: str, sessions: Sessions) -> list[tuple[str, float]]:
    """Milliseconds from frame to frame of a comparison whose jobs all run."""
    held = [begun(sessions, 100 + number) for number in range(STREAMS)]
    record(sessions, held, 0, LENGTH)
    context, page = opened(browser)
    page.goto(f"{url}/#/compare?jobs={','.join(each.job_id for each in held)}")
    page.wait_for_function(PAINTED, arg="main canvas")
    over = threading.Event()

    def write() -> None:
        at = LENGTH
        while not over.wait(EVERY):
            record(sessions, held, at, ROWS)
            at += ROWS

    writer = threading.Thread(target=write)
    writer.start()
    frames: list[float] = page.evaluate(FRAMES, 1e3 * WATCHED)
    over.set()
    writer.join()
    context.close()
    ends(sessions, held)
    return [
        ("median frame", median(frames)),
        ("99th percentile", quantiles(frames, n=100)[98]),
        ("longest frame", max(frames)),
    ]


FRAMES = """async (length) => {
  const frames = [];
  const until = performance.now() + length;
  let last = performance.now();
  while (last < until) {
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    frames.push(now - last);
    last = now;
  }
  return frames;
}"""


def held(browser: Browser, url: str, sessions: Sessions, updates: int) -> list[tuple[str, str]]:
    """What the page of a running job keeps in memory before and after being told so often."""
    lease = begun(sessions, 200)
    record(sessions, [lease], 0, LENGTH)
    context, page = opened(browser)
    # without its stream the page asks when it is woken, which is more often than it would be told
    page.route("**/events*", lambda route: route.abort())
    page.goto(f"{url}/#/jobs/{lease.job_id}")
    page.wait_for_function(PAINTED, arg="main canvas")
    memory = context.new_cdp_session(page)
    memory.send("Performance.enable")
    before = heap(memory)
    at = LENGTH
    for _ in range(updates):
        record(sessions, [lease], at, ROWS)
        at += ROWS
        page.evaluate("dispatchEvent(new Event('online'))")
        page.get_by_text(f"{at:,} of 1,000,000 iterations.", exact=True).wait_for()
    after = heap(memory)
    context.close()
    ends(sessions, [lease])
    names = ("heap before and after, MB", "nodes before and after")
    return [
        (name, f"{one:,.1f} to {other:,.1f}")
        for name, one, other in zip(names, before, after, strict=True)
    ]


def heap(session: Any) -> tuple[float, float]:
    """Megabytes of JavaScript, and nodes of the document, after all garbage is gone."""
    for _ in range(2):
        session.send("HeapProfiler.collectGarbage")
    found = session.send("Performance.getMetrics")["metrics"]
    metrics = {each["name"]: each["value"] for each in found}
    return metrics["JSHeapUsedSize"] / 1e6, metrics["Nodes"]


def ends(sessions: Sessions, held: list[Lease]) -> None:
    """Ends jobs, so that no page goes on to ask for them."""
    for each in held:
        with sessions.begin() as tx:
            leases.succeed(tx, each, {"train_loss": 0.1, "val_accuracy": None, "diverged_at": None})


def beside(browser: Browser, python: Path) -> list[str]:
    """MLflow's page of a run with as many values."""
    with TemporaryDirectory(prefix="bm") as folder:
        database = f"sqlite:///{folder}/mlflow.db"
        with mlflow(python, database, Path(folder)) as (url, _):
            task = json.dumps({"url": url, "writers": 1, "iterations": LENGTH})
            command = [str(python), str(CLIENT), task]
            written = subprocess.run(command, check=True, capture_output=True, text=True)
            (run,) = json.loads(written.stdout.splitlines()[-1])["runs"]
            address = f"{url}/#/experiments/0/runs/{run}/model-metrics"

            def drawn(page: Page) -> None:
                page.locator(".js-plotly-plot .js-line").nth(1).wait_for(state="attached")

            return summed_up([loaded(browser, address, drawn) for _ in range(REPETITIONS)])


if __name__ == "__main__":
    main()
