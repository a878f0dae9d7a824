"""The documentation site: `make docs` builds it without a warning, with every page, and it loads nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"


class Loads(HTMLParser):
    """The addresses that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag in ("script", "img", "iframe") and values.get("src"):
            self.found.append(values["src"])
        if tag == "link" and values.get("rel") in ("stylesheet", "preload", "icon"):
            self.found.append(values["href"])


def build(site: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site, *more],
        cwd=REPOSITORY,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = build(folder)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return folder


def test_every_page_is_built_and_loads_nothing_from_elsewhere(site):
    for source in DOCS.rglob("*.md"):
        name = source.relative_to(DOCS).with_suffix(".html").as_posix().replace("README.html", "index.html")
        page = Loads()
        text = (site / name).read_text()
        page.feed(text)
        assert text.count("window.Worker = ") == 1, "the search of a page on the disk"
        assert text.count("[data-md-copying] :is(.gp, .go)") == 1, "the copy button leaves prompts out"
        assert page.found, name
        assert [address for address in page.found if re.match(r"(https?:)?//", address)] == [], name


def test_the_api_page_shows_the_names_that_it_promises(site):
    page = (site / "reference" / "api.html").read_text()
    shown = set(re.findall(r'id="kit\.([\w.]+)"', page))
    assert {"agent.api.load_task", "agent.api.run_search", "result.verify.open_bundle"} <= shown
    assert {"result.keys.Trusted", "values.logread.read_log"} <= shown


def test_a_link_to_a_page_or_a_heading_that_is_missing_is_an_error(tmp_path):
    """The configuration is the site's own, the page another."""
    (tmp_path / "docs").mkdir()
    text = (REPOSITORY / "mkdocs.yml").read_text()
    text = text[: text.index("\nnav:")].replace("hooks: [docs/site_hooks.py]\n", "")
    (tmp_path / "mkdocs.yml").write_text(text)
    for link, said in (("b.md", "'b.md', but the target"), ("#nowhere", "no such anchor")):
        (tmp_path / "docs" / "index.md").write_text(f"# A page\n\n[a link]({link})\n")
        done = build(tmp_path / "site", "--config-file", str(tmp_path / "mkdocs.yml"))
        assert done.returncode == 1 and said in done.stderr, done.stderr


def test_a_link_that_leaves_docs_goes_to_the_repository_or_becomes_text(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    import site_hooks

    class Value:
        src_uri = "guides/a.md"
        repo_url: str | None = "https://github.com/a/b/"

    page, config = Value(), Value()
    page.file = page
    text = "[x](../../kit/a.py#L1) [y](../concepts/scores.md#z)"
    told = site_hooks.on_page_markdown(text, page=page, config=config)
    assert told == "[x](https://github.com/a/b/blob/HEAD/kit/a.py) [y](../concepts/scores.md#z)"
    config.repo_url = None
    assert site_hooks.on_page_markdown(text, page=page, config=config).startswith("x [y]")
