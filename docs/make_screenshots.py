# noqa: INP001 - a script, not a package
"""Makes docs/screenshots/*.png, every page of the dashboard in both themes: about two minutes."""

import io
import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Error, Page, ViewportSize, sync_playwright

from stepsize import Client, embedded

FOLDER = Path(__file__).parent / "screenshots"
SIZE = ViewportSize(width=1240, height=760)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
COLOURS = 255
SETTLED = 700
"""Milliseconds in which what has come is drawn."""
LARGEST = 150_000
"""Bytes of a picture."""

COMMON: dict[str, Any] = {
    "model": {"name": "mlp", "params": {"hidden": [64]}},
    "data": {"name": "digits"},
    "batch_size": 32,
    "optimizer": {"name": "sgd", "params": {"momentum": 0.9}},
    "tags": {"study": "digits"},
}
RANGE_TEST: dict[str, Any] = {
    **COMMON,
    "kind": "range_test",
    "name": "how high can it go",
    "range": {"start": 1e-5, "end": 10.0, "iterations": 300},
    "repeats": 3,
}
TRAINING: dict[str, Any] = {
    **COMMON,
    "kind": "training",
    "record": ["accuracy"],
    "evaluate": {"every": {"epochs": 1}},
}
CYCLES: dict[str, Any] = {"policy": "triangular2", "base_lr": 0.01, "step_size": {"epochs": 4}}

SWEEP: dict[str, Any] = {
    "kind": "sweep",
    "name": "peak x momentum x seed",
    "template": {
        **TRAINING,
        "schedule": {**CYCLES, "step_size": 50},
        "length": {"cycles": 3},
    },
    "space": {
        "/schedule/max_lr": {"low": 0.03, "high": 3, "log": True, "points": 7},
        "/optimizer/params/momentum": [0.5, 0.8, 0.9, 0.95],
        "/seed": [0, 1, 2],
    },
    "sampler": {"name": "grid"},
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
}
RANGE_TESTS: dict[str, Any] = {
    "kind": "sweep",
    "name": "how much momentum",
    "template": {**RANGE_TEST, "name": None, "repeats": 1},
    "space": {"/optimizer/params/momentum": [0, 0.5, 0.8, 0.9, 0.95]},
}
EARLY: dict[str, Any] = {
    **SWEEP,
    "name": "peaks, stopped early",
    "space": {"/schedule/max_lr": {"low": 0.01, "high": 3, "log": True}},
    "template": {**SWEEP["template"], "length": {"cycles": 9}},
    "sampler": {"name": "quasi_random"},
    "budget": {"jobs": 12, "parallel": 1},
    "stopping": {"name": "asha"},
}


@dataclass(frozen=True)
class Shot:
    """A page to take a picture of.

    Attributes:
        path: its address.
        ready: what is there once it shows all that it has.
        top: the heading that the picture begins with, None for the top of the page.
    """

    path: str
    ready: str
    top: str | None = None


def main() -> None:
    """Starts a service, runs some jobs, and opens every page."""
    FOLDER.mkdir(exist_ok=True)
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise SystemExit("this needs a browser: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="shots") as folder:
        place = embedded.Place(Path(folder), port=embedded.free_port())
        with (
            embedded.running(place, say=print),
            Client(place.url) as client,
            sync_playwright() as tool,
        ):
            shots = pages(client)
            browser = tool.chromium.launch(
                executable_path=found, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
            )
            for theme in ("light", "dark"):
                context = browser.new_context(color_scheme=theme, viewport=SIZE)
                page = context.new_page()
                page.on("pageerror", failed)
                for name, shot in shots.items():
                    take(page, place.url, shot, FOLDER / f"{name}-{theme}.png")
                context.close()
            browser.close()


def failed(error: Error) -> None:
    """No picture is kept of a page that has failed."""
    raise SystemExit(f"a page has failed: {error}")


def pages(client: Client) -> dict[str, Shot]:
    """Jobs to look at: each page under the name of its picture."""
    swept, ramps, _ = (
        client.sweeps.wait(client.sweeps.submit(each)).id for each in (SWEEP, RANGE_TESTS, EARLY)
    )
    ramp = client.wait(client.submit(RANGE_TEST))
    peaks = [
        client.submit(
            {
                **TRAINING,
                "name": f"triangular2 up to {peak}",
                "schedule": {**CYCLES, "max_lr": peak},
                "length": {"cycles": 3},
                "snapshots": "cycle_end",
            }
        )
        for peak in (0.04, 0.08, 0.14, 0.4)
    ]
    one = {"policy": "one_cycle", "max_lr": {"range_test": ramp.id}}
    peak = client.submit(
        {**TRAINING, "name": "one cycle", "schedule": one, "length": {"epochs": 20}}
    )
    for each in (*peaks, peak):
        client.wait(each)
    client.submit(
        {
            **TRAINING,
            "name": "a long one",
            "schedule": {**CYCLES, "max_lr": 0.1, "step_size": 20_000},
            "length": {"iterations": 4_000_000},
        }
    )
    client.owners.put(client.usage().owner, max_points=2_000_000, max_checkpoint_bytes=20_000_000)
    client.retention.add("checkpoints", after_days=30)
    client.retention.add("series", after_days=90, tag="study", value="draft")
    client.webhooks.add("https://chat.example.com/hooks/stepsize", events=["sweep.succeeded"])
    client.webhooks.add("https://ci.example.com/trained", tags={"study": "nightly"})
    while client.usage().counted_at is None:  # within a minute
        time.sleep(1)
    compared = ",".join(each.id for each in peaks)
    ticked = ",".join(each.id for each in peaks[:2])
    kept = quote(json.dumps({"": [0.75, 1], "/optimizer/params/momentum": [0.5, 1]}))
    curves = ".legend .swatch"
    return {
        "jobs": Shot(f"jobs?picked={ticked}", "tr:has(.running) .figure:not(:empty)"),
        "range-test": Shot(f"jobs/{ramp.id}?peers=1", "rect.band"),
        "training": Shot(f"jobs/{peak.id}?log=1", curves),
        "compare": Shot(f"compare?colour=/schedule/max_lr&jobs={compared}&log=1&smooth=3", curves),
        "sweeps": Shot("sweeps", "tbody tr:nth-child(3)"),
        "sweep": Shot(f"sweeps/{swept}", "[aria-label=Ranking] tbody tr"),
        "sweep-lines": Shot(f"sweeps/{swept}?keep={kept}", "path.line.out", "Every job"),
        "sweep-heat": Shot(f"sweeps/{swept}", "td.heat", "What matters"),
        "sweep-ramps": Shot(f"sweeps/{ramps}", curves),
        "new-job": Shot(f"new?from={ramp.id}", curves),
        "workers": Shot("workers", "text=iterations/s"),
        "webhooks": Shot("webhooks", "tbody tr:nth-child(2)"),
        "usage": Shot("usage", ".rules li:nth-child(2)"),
    }


def take(page: Page, url: str, shot: Shot, path: Path) -> None:
    """One picture, in few colours so that it stays small."""
    page.goto("about:blank")
    page.goto(f"{url}/#/{shot.path}")
    page.locator(shot.ready).first.wait_for()
    page.locator("main:not([aria-busy])").wait_for()
    plot = page.locator(".plot:visible").first
    if shot.top:
        place = page.get_by_role("heading", name=shot.top, exact=True)
        place.evaluate("heading => scrollTo(0, heading.offsetTop - 12)")
    elif plot.count():
        plot.hover(position={"x": 420, "y": 120})
    page.wait_for_timeout(SETTLED)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path} is larger than {LARGEST} bytes: use fewer colours")


if __name__ == "__main__":
    main()
