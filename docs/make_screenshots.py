# noqa: INP001 - a script, not a package
"""Makes docs/screenshots/*.png, every page of the dashboard in both themes: about a minute."""

import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from stepsize import Client, embedded

FOLDER = Path(__file__).parent / "screenshots"
SIZE = {"width": 1240, "height": 760}
COLOURS = 255
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
    "name": "peak x momentum",
    "template": {
        **TRAINING,
        "schedule": {**CYCLES, "step_size": 100},
        "length": {"cycles": 3},
    },
    "space": {
        "/schedule/max_lr": {"low": 0.03, "high": 1, "log": True, "points": 6},
        "/optimizer/params/momentum": [0.8, 0.9],
    },
    "sampler": {"name": "grid"},
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
}


def main() -> None:
    """Starts a service, runs some jobs, and opens every page."""
    FOLDER.mkdir(exist_ok=True)
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        raise SystemExit("this needs a browser: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="shots") as folder:
        place = embedded.Place(Path(folder), port=embedded.free_port())
        with (
            embedded.running(place, say=print),
            Client(place.url) as client,
            sync_playwright() as tool,
        ):
            paths = pages(client)
            browser = tool.chromium.launch(
                executable_path=found, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
            )
            for theme in ("light", "dark"):
                context = browser.new_context(color_scheme=theme, viewport=SIZE)
                page = context.new_page()
                for name, path in paths.items():
                    take(page, f"{place.url}/#/{path}", FOLDER / f"{name}-{theme}.png")
                context.close()
            browser.close()


def pages(client: Client) -> dict[str, str]:
    """Jobs to look at: the address of each page under the name of its picture."""
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
    swept = client.sweeps.wait(client.sweeps.submit(SWEEP)).id
    client.submit(
        {
            **TRAINING,
            "name": "a long one",
            "schedule": {**CYCLES, "max_lr": 0.1, "step_size": 20_000},
            "length": {"iterations": 1_000_000},
        }
    )
    compared = ",".join(each.id for each in peaks)
    return {
        "jobs": "jobs",
        "range-test": f"jobs/{ramp.id}?peers=1",
        "training": f"jobs/{peak.id}?log=1",
        "compare": f"compare?colour=/schedule/max_lr&jobs={compared}&log=1&smooth=3",
        "sweep": f"sweeps/{swept}",
        "new-job": f"new?from={ramp.id}",
        "workers": "workers",
    }


def take(page: Page, url: str, path: Path) -> None:
    """One picture, in few colours so that it stays small."""
    page.goto("about:blank")
    page.goto(url)
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_timeout(2500)  # the curves of a job that runs, and its speed
    plot = page.locator(".plot").first
    if plot.count():
        plot.hover(position={"x": 420, "y": 120})
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path} is larger than {LARGEST} bytes: use fewer colours")


if __name__ == "__main__":
    main()
