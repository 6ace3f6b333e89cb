"""The page of usage: one's own against the limits, rules of retention, and every owner."""

from pathlib import Path

import pytest

from spec.access import ANYONE, Scope
from store import keys, owners, retention
from store.database import Sessions
from store.instants import now
from store.owners import Rule
from store.tables import usage
from tests.browser.conftest import PATIENCE, Site, Watch, serving
from tests.factories import claimed, queued

expect = pytest.importorskip(
    "playwright.sync_api",
    reason="the browser tests need playwright: pip install 'stepsize[dev]'",
).expect
expect.set_options(timeout=PATIENCE)


def has(sessions: Sessions, owner: str, rule: Rule, *, points: int, checkpoint_bytes: int) -> None:
    """An owner with a rule, whose use has been counted."""
    counted = {"points": points, "checkpoint_bytes": checkpoint_bytes, "counted_at": now()}
    with sessions.begin() as tx:
        owners.put(tx, owner, rule)
        tx.execute(usage.insert().values(owner=owner, **counted))


def test_usage_stands_against_its_limits(site: Site, watched: Watch) -> None:
    page = watched(site)
    page.goto(f"{site.url}/#/usage")
    expect(page.get_by_text("has not been counted yet")).to_be_visible()
    expect(page.get_by_text("None: everything is kept")).to_be_visible()
    expect(page.locator("progress").locator("visible=true")).to_have_count(0)
    expect(page.locator("dl dd").first).to_have_text("0 jobs, no limit")
    expect(page.locator("dl dd").last).to_have_text("1 (100 %)")
    for _ in range(3):
        queued(site.sessions)
    claimed(site.sessions)
    rule = Rule(share=3, max_running=4, max_points=2_000_000, max_checkpoint_bytes=5_000)
    has(site.sessions, ANYONE.owner, rule, points=1_500_000, checkpoint_bytes=4_800)
    has(site.sessions, "ada", Rule(max_points=9), points=9, checkpoint_bytes=2_500_000_000)
    with site.sessions.begin() as tx:
        retention.add(tx, ANYONE.owner, what="series", after_days=30, tag="study", value="a")
    own = page.locator("dl dd")
    expect(own).to_have_text(
        [
            "1 of 4 jobs",
            "1,500,000 of 2,000,000 iterations",
            "4.8 kB of 5 kB",
            "2 jobs",
            "3 (75 %)",
        ]
    )
    assert [bar.evaluate("each => each.value") for bar in own.locator("progress").all()] == (
        [0.25, 0.75, 0.96]
    )
    expect(page.locator(".rules")).to_have_text(
        "What was recorded of jobs tagged study:a: deleted 30 days after their end."
    )
    ada = page.get_by_role("row", name="ada")
    expect(ada).to_contain_text("9 of 9 iterations")
    expect(ada).to_contain_text("2.5 GB in checkpoints")
    expect(ada.locator("progress.full")).to_have_count(1)
    expect(page.get_by_text("A limit is reached")).to_have_count(0)
    with site.sessions.begin() as tx:
        owners.put(tx, ANYONE.owner, Rule(max_points=1_000))
    expect(page.get_by_text("A limit is reached")).to_be_visible()
    expect(page.get_by_role("link", name="Usage")).to_have_attribute("aria-current", "page")


def test_who_is_no_admin_sees_what_is_theirs(tmp_path: Path, watched: Watch) -> None:
    with serving(tmp_path, require_key=True) as site:
        has(site.sessions, "grace", Rule(max_points=9), points=1, checkpoint_bytes=0)
        with site.sessions.begin() as tx:
            _, key = keys.issue(tx, name="laptop", owner="ada", scopes={Scope.READ})
        page = watched(site)
        page.goto(f"{site.url}/#/usage")
        page.get_by_label("This service wants a key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text("Owner: ada.")).to_be_visible()
        expect(page.locator("dl dd").last).to_have_text("1, against those of others")
        assert "grace" not in page.locator("main").inner_text()
        page.goto("about:blank")
        assert [fault for fault in site.faults if "401" not in fault] == []
        site.faults.clear()


def test_usage_is_found_by_assistive_technology(site: Site, watched: Watch) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    has(site.sessions, ANYONE.owner, Rule(max_points=9), points=9, checkpoint_bytes=0)
    for scheme in ("light", "dark"):
        page = watched(site, color_scheme=scheme, viewport={"width": 390, "height": 800})
        page.goto(f"{site.url}/#/usage")
        expect(page.get_by_role("heading", name="Every owner")).to_be_visible()
        assert axe.run(page).response["violations"] == []
        assert page.evaluate("document.documentElement.scrollWidth") == 390
