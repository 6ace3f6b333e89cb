"""The dashboard in a real browser, over a real API whose rows are written through the store."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import uvicorn

from api.app import create_app
from migrations.run import upgrade
from spec.settings import Settings
from store.database import Sessions, connect
from tests.api.conftest import NotedBroker

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

PATIENCE = 15_000
"""Milliseconds for anything to happen in a page."""

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Site:
    """A running API, the database under it, and what pages loaded from it have done wrong."""

    url: str
    sessions: Sessions
    faults: list[str] = field(default_factory=list)


@contextmanager
def serving(folder: Path, *, require_key: bool = False) -> Iterator[Site]:
    """The API on a port of its own, in a thread; no worker, no broker, no reconciler."""
    settings = Settings(
        database_url=f"sqlite:///{folder / 'stepsize.db'}",
        broker_url="redis://unused",
        data_dir=folder,
        require_key=require_key,
    )
    sessions = connect(settings.database_url)
    upgrade(sessions)
    app = create_app(sessions, NotedBroker(), settings)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", log_level="warning"))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield Site(f"http://127.0.0.1:{listener.getsockname()[1]}", sessions)
    app.state.changes.close()
    server.should_exit = True
    thread.join(timeout=10)
    listener.close()
    sessions.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serving(tmp_path) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - the tests skip without it

    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        pytest.skip("the browser tests need chromium: apt-get install chromium")
    with sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=found, args=FLAGS)
        yield launched
        launched.close()


Watch = Callable[..., "Page"]
"""Opens a page for a site, with options of its browser context."""


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watch]:
    """Opens pages that must neither complain nor ask anyone but their site."""
    contexts = []
    sites = []

    def watch(site: Site, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        sites.append(site)
        context.set_default_timeout(PATIENCE)
        origin = urlsplit(site.url).netloc
        page = context.new_page()

        def asked(request: Request) -> None:
            if urlsplit(request.url).netloc != origin:
                site.faults.append(f"asked {request.url}")

        def said(message: ConsoleMessage) -> None:
            if message.type in {"error", "warning"}:
                site.faults.append(message.text)

        page.on("request", asked)
        page.on("console", said)  # violations of the content policy are told here as well
        page.on("pageerror", lambda error: site.faults.append(str(error)))
        return page

    yield watch
    for context in contexts:
        context.close()
    for site in sites:
        assert site.faults == []
