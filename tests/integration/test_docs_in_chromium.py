"""The documentation site in a real Chromium, from the disk: no page overflows, dark and light, the search."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from chromium import BINARY, DESKTOP, PHONE, Chromium
from conftest import REPOSITORY

pytestmark = pytest.mark.skipif(BINARY is None, reason="needs chromium: apt-get install chromium")
SMALL = (320, 700)
PAGES = ("index", "guides/agent", "reference/cli", "reference/api", "benchmarks")
DARK = "document.body.dataset.mdColorScheme == 'slate'"
FOUND = "document.querySelector('.md-search-result__meta').innerText"
FIRST = "(document.querySelector('.md-search-result__link') || {href: ''}).href"
"""The address of the first result: of what was typed so far, until all of it was searched."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(command, cwd=REPOSITORY, env=env, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def browser():
    page = Chromium()
    yield page
    page.close()


def becomes(browser: Chromium, expression: str) -> bool:
    """Wait until an expression is true in the page."""
    deadline = time.monotonic() + 60
    while not browser.ask(expression):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("size", [DESKTOP, PHONE, SMALL], ids=["desktop", "phone", "small"])
def test_no_page_is_wider_than_its_window(browser, site, name, size):
    browser.open(site / f"{name}.html", size)
    assert browser.ask("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []


def test_the_colours_are_those_of_the_system_also_after_it_changes(browser, site):
    for dark in (False, True, False):
        browser.open(site / "index.html", DESKTOP, dark)
        assert becomes(browser, DARK if dark else f"!({DARK})")


def test_the_search_works_from_the_disk(browser, site):
    browser.open(site / "reference" / "cli.html", DESKTOP)
    browser.click(".md-search__input")
    assert becomes(browser, f"/Type to start/.test({FOUND})")
    browser.type("canary")
    assert becomes(browser, f"/matching documents/.test({FOUND})")
    assert becomes(browser, f"{FIRST}.includes('/concepts/canary.html')"), browser.ask(FIRST)
