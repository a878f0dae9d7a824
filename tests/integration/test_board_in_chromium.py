"""The board in a real browser: clicks sort it, words filter it, it fits every screen and loads nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from chromium import BINARY, DESKTOP, PHONE, Chromium
from conftest import REPOSITORY, SPEEDRUN
from python_file import load_file

GALLERY = REPOSITORY / "tests" / "assets" / "bundles" / "gallery.py"
pytestmark = pytest.mark.skipif(BINARY is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The page of a repository with whatever a board has to show, made by the command."""
    pytest.importorskip("scipy")
    where = tmp_path_factory.mktemp("board")
    made = load_file("gallery", GALLERY).fill(where, 40)
    command = [
        *SPEEDRUN,
        "report",
        str(made.root),
        "--keys",
        str(where / "keys"),
        "--out",
        str(where / "site"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return where / "site" / "index.html"


@pytest.fixture(scope="module")
def browser():
    found = Chromium()
    yield found
    found.close()


def column(browser: Chromium, number: int) -> list[str]:
    """The keys of a column of the shown rows, from top to bottom."""
    rows = "[...document.querySelectorAll('#board > table > tbody')].filter(r => !r.hidden)"
    return browser.ask(f"{rows}.map(r => r.rows[0].cells[{number}].dataset.key)")


def sorted_by(browser: Chromium) -> list[str]:
    heads = "[...document.querySelectorAll('#board > table > thead th')]"
    return browser.ask(f"{heads}.map(h => h.getAttribute('aria-sort')).filter(Boolean)")


def header(browser: Chromium, number: int) -> None:
    browser.click("#board > table > thead th button", number)


def choose(browser: Chromium, name: str, downs: int) -> None:
    """Choose the nth option of a list with the keyboard."""
    browser.ask(f"document.getElementById({name!r}).focus()")
    for _ in range(downs):
        browser.key("ArrowDown", 40)


def test_the_page_runs_its_script_loads_nothing_else_and_nothing_complains(browser, page):
    browser.open(page, DESKTOP)
    assert browser.ask("document.getElementById('tools').hidden") is False
    assert browser.requests == [page.as_uri()]
    assert browser.complaints == []


@pytest.mark.parametrize(("number", "first"), [(0, "up"), (2, "down"), (3, "down"), (4, "up"), (5, "up")])
def test_a_click_on_a_number_column_sorts_by_it_and_the_next_turns_it_round(browser, page, number, first):
    browser.open(page, DESKTOP)
    before = column(browser, number)
    ways = ("ascending", "descending") if first == "up" else ("descending", "ascending")
    for way in ways:
        header(browser, number)
        assert sorted_by(browser) == [way]
        found = [float(key) for key in column(browser, number)]
        assert found == sorted(found, reverse=way == "descending")
        assert sorted(column(browser, number)) == sorted(before)


def test_a_click_on_agents_sorts_by_name_also_if_a_name_begins_with_a_digit(browser, page):
    browser.open(page, DESKTOP)
    browser.ask(
        "document.querySelectorAll('#board > table > tbody')[3].rows[0].cells[1].dataset.key = '9-lives'"
    )
    header(browser, 1)
    names = column(browser, 1)
    assert names == sorted(names) and names[0] == "9-lives"


def test_a_rows_runs_stay_with_it(browser, page):
    browser.open(page, DESKTOP)
    ids = (
        "[...document.querySelectorAll('#board > table > tbody')]"
        ".map(b => b.rows[0].cells[0].dataset.key + ' ' + b.querySelector('.runs .id').textContent)"
    )
    before = browser.ask(ids)
    header(browser, 2)
    after = browser.ask(ids)
    assert before != after and sorted(before) == sorted(after)
    for row in after:
        task, run = row.split()
        assert run.startswith(f"r{int(task):02d}-")


def test_typed_words_filter_rows_all_of_them_at_once(browser, page):
    browser.open(page, DESKTOP)
    everything = len(column(browser, 0))
    browser.click("#find")
    browser.type("GREEDY hints")
    some = column(browser, 1)
    assert 0 < len(some) < everything and all("greedy" in name for name in some)
    assert browser.ask("document.getElementById('count').textContent") == f"{len(some)} of {everything} rows"
    browser.type(" nobody-of-this-name")
    assert column(browser, 1) == []


def test_task_and_tier_can_be_chosen_together_with_the_keyboard(browser, page):
    browser.open(page, DESKTOP)
    choose(browser, "task", 2)
    task = browser.ask("document.getElementById('task').value")
    assert task and set(column(browser, 0)) == {task}
    browser.open(page, DESKTOP)
    choose(browser, "tier", 2)
    tiers = [float(key) for key in column(browser, 6)]
    assert tiers and min(tiers) >= 2


def test_headers_are_reached_and_pressed_with_the_keyboard(browser, page):
    browser.open(page, DESKTOP)
    browser.ask("document.getElementById('sort').focus()")
    for _ in range(3):
        browser.key("Tab", 9)
    assert browser.ask("document.activeElement.textContent") == "FSR"
    browser.key("Enter", 13)
    assert sorted_by(browser) == ["descending"]


def test_a_phone_that_shows_no_headers_sorts_by_a_list_and_back(browser, page):
    browser.open(page, PHONE)
    assert browser.ask("getComputedStyle(document.querySelector('#board thead')).display") == "none"
    before = column(browser, 2)
    choose(browser, "sort", 3)
    found = [float(key) for key in column(browser, 2)]
    assert found == sorted(found, reverse=True)
    for _ in range(3):
        browser.key("ArrowUp", 38)
    assert column(browser, 2) == before and sorted_by(browser) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE, (320, 640)], ids=["desktop", "phone", "small phone"])
def test_nothing_is_wider_than_the_screen_even_when_all_is_open(browser, page, size, dark):
    browser.open(page, size, dark)
    browser.ask("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert browser.ask("document.documentElement.scrollWidth") <= size[0]
    smallest = (
        "Math.min(...[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height))"
    )
    assert browser.ask(smallest) >= 9


CONTRAST = """
(() => {
  const light = c => { const v = c / 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const of = ([r, g, b]) => .2126 * light(r) + .7152 * light(g) + .0722 * light(b);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) { return c; }
    }
    return rgb(getComputedStyle(document.body).backgroundColor);
  };
  let worst = [99, ""];
  for (const e of document.querySelectorAll("main *, header *, footer *")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getClientRects().length) { continue; }
    const style = getComputedStyle(e);
    const ink = rgb(e.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const [a, b] = [of(ink), of(behind(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < worst[0]) { worst = [ratio, e.outerHTML.slice(0, 80)]; }
  }
  return worst;
})()
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(browser, page, dark):
    browser.open(page, DESKTOP, dark)
    browser.ask("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    ratio, where = browser.ask(CONTRAST)
    assert ratio >= 4.5, where


def test_without_scripts_everything_is_there_but_the_controls(browser, page):
    browser.open(page, DESKTOP, script=False)
    try:
        assert browser.ask("document.getElementById('tools').hidden") is True
        shown = browser.ask("document.body.innerText")
        assert "retracted" in shown and "reproduced: 1 of" in shown and "Not accepted" in shown
        assert len(column(browser, 0)) > 10
        browser.click("#board details.runs summary")
        assert browser.ask("document.querySelector('#board details.runs').open") is True
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
