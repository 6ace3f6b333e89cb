"""The pages of webhooks: one is made and tested, and its log says what was sent."""

import pytest

from store import deliveries, moves, webhooks
from store.deliveries import Outcome
from tests.browser.conftest import PATIENCE, Site, Watch
from tests.factories import queued

expect = pytest.importorskip(
    "playwright.sync_api",
    reason="the browser tests need playwright: pip install 'stepsize[dev]'",
).expect
expect.set_options(timeout=PATIENCE)

URL = "https://hooks.example/stepsize"


def sent(site: Site, webhook_id: str, outcome: Outcome) -> None:
    """As if the API had sent what is due: here no thread does."""
    with site.sessions.begin() as tx:
        for due in deliveries.take(tx, webhook_id, limit=9):
            deliveries.settle(tx, due, outcome, chance=0.0)


def test_a_webhook_is_made_tested_and_deleted(site: Site, watched: Watch) -> None:
    page = watched(site)
    page.goto(f"{site.url}/#/webhooks")
    expect(page.get_by_text("No webhooks yet.")).to_be_visible()
    page.get_by_label("Send to").fill(URL)
    page.get_by_label("word of").select_option("jobs that fail")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("whsec_")).to_be_visible()
    with site.sessions.read() as tx:
        (webhook,) = webhooks.find(tx, owner="default")
    assert (webhook.url, webhook.events) == (URL, ["job.failed"])
    expect(page.locator("tbody tr")).to_contain_text(["job.failed"])
    expect(page.locator("tbody .state")).to_have_text("enabled")
    page.get_by_role("button", name="Test").click()
    expect(page).to_have_url(f"{site.url}/#/webhooks/{webhook.id}")
    expect(page.locator("tbody .state")).to_have_text("pending")
    sent(site, webhook.id, Outcome(500, "500 Internal Server Error", 0.1))
    expect(page.locator("tbody tr")).to_contain_text(["500 Internal Server Error; again"])
    page.get_by_role("button", name="Send again").click()
    with site.sessions.read() as tx:
        (message,) = deliveries.find(tx, webhook, state=None, before=None, limit=9)
    expect(page.get_by_text("failing since")).to_be_visible()
    assert message.type == "ping"
    sent(site, webhook.id, Outcome(204, None, 0.1))
    expect(page.locator("tbody .state")).to_have_text("delivered")
    page.get_by_role("link", name="All webhooks").click()
    page.get_by_role("button", name="Disable").click()
    expect(page.locator("tbody .state")).to_have_text("disabled")
    expect(page.get_by_role("button", name="Test")).to_be_disabled()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No webhooks yet.")).to_be_visible()


def test_what_is_refused_is_said(site: Site, watched: Watch) -> None:
    page = watched(site)
    page.goto(f"{site.url}/#/webhooks")
    page.get_by_label("Send to").fill("http://127.0.0.1/")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert").first).to_contain_text("not a public address")
    page.goto("about:blank")
    assert [fault for fault in site.faults if "422" not in fault] == []
    site.faults.clear()


def test_messages_lead_to_what_they_are_about(site: Site, watched: Watch) -> None:
    with site.sessions.begin() as tx:
        webhook = webhooks.add(tx, owner="default", url=URL)
    job = queued(site.sessions, name="fashion")
    with site.sessions.begin() as tx:
        moves.cancel(tx, job.id)
    page = watched(site)
    page.goto(f"{site.url}/#/webhooks/{webhook.id}")
    expect(page.locator("tbody th")).to_have_text("job.cancelled")
    page.get_by_role("link", name="fashion").click()
    expect(page).to_have_url(f"{site.url}/#/jobs/{job.id}")
