"""The board's script sorts and filters: run by node on a plain model of the page, for want of a browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from python_file import load_file

pytest.importorskip("scipy")

from kit.benchmark.tasks import load_tasks
from kit.core.facts import facts_root
from kit.leaderboard.page.rank import rank
from kit.leaderboard.page.site import render
from kit.leaderboard.submit.check import check

TESTS = Path(__file__).parents[2]
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


class Tree(HTMLParser):
    """The page as nested lists of tag, attributes and children."""

    VOID = frozenset({"meta", "br", "input", "link", "!doctype"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[list] = [["#root", {}, []]]
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = [tag, {name: value or "" for name, value in attrs}, []]
        self.open[-1][2].append(found)
        if tag not in self.VOID:
            self.open.append(found)

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        self.open[-1][2].append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """The page of a repository that has whatever a board has to show."""
    gallery = load_file("gallery", TESTS / "assets" / "bundles" / "gallery.py")
    made = gallery.fill(tmp_path_factory.mktemp("board"), 40)
    tasks = load_tasks(facts_root())
    return render(rank(check(made.root, made.trusted), facts_root(), tasks), "Board", len(tasks))


@pytest.fixture
def ask(page):
    """Run a scenario in a fresh page: JavaScript over `page`, see tests/assets/board_dom.js."""

    def run(scenario: str, change=lambda text: text):
        text = change(page)
        script = text.split("<script>")[1].split("</script>")[0]
        given = json.dumps({"tree": Tree(text).open[0], "script": script, "scenario": scenario})
        command = [NODE, str(TESTS / "assets" / "board_dom.js")]
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize(("column", "first"), [(0, 1), (2, -1), (3, -1), (4, 1), (5, 1), (6, -1)])
def test_a_click_sorts_by_number_and_the_next_turns_it_round(ask, column, first):
    once, twice = ask(f"""(() => {{
        page.click({column}); const once = page.column({column});
        page.click({column}); return [once, page.column({column})]; }})()""")
    for keys, way in ((once, first), (twice, -first)):
        found = [float(key) for key in keys]
        assert found == sorted(found, reverse=way < 0)
    assert len(set(once)) > 1


def test_names_are_sorted_as_text_even_if_one_begins_with_a_digit(ask):
    (names,) = ask("[(page.click(1), page.column(1))]", lambda t: t.replace('"greedy ·', '"9 lives ·'))
    assert names == sorted(names) and names[0].startswith("9 lives")


def test_one_column_is_marked_as_the_sorted_one(ask):
    marks = ask("(page.click(4), page.click(2), page.sorted())")
    assert [mark for mark in marks if mark] == ["descending"] and marks[2]


def test_the_list_of_orders_sorts_and_brings_the_first_order_back(ask):
    before, by_time, after, marks = ask("""(() => {
        const before = page.column(0); page.set("sort", "4"); const by = page.column(4);
        page.set("sort", ""); return [before, by, page.column(0), page.sorted()]; })()""")
    assert before == after and marks == [None] * 8
    assert [float(t) for t in by_time] == sorted(float(t) for t in by_time)


def test_words_task_and_tier_filter_together_and_are_counted(ask):
    everything, words, both, count = ask("""(() => {
        const every = page.column(1); page.set("find", "GREEDY  hints"); const words = page.column(1);
        page.set("tier", "2"); const both = page.column(6);
        return [every, words, both, page.text("count")]; })()""")
    assert 0 < len(words) < len(everything) and all("greedy" in name for name in words)
    assert all(float(tier) >= 2 for tier in both)
    assert count == f"{len(both)} of {len(everything)} rows"
    assert set(ask("(page.set('task', '3'), page.column(0))")) == {"3"}


def test_the_controls_appear_only_when_they_work(ask, page):
    assert '<div id="tools" hidden>' in page
    assert ask("page.hidden('tools')") is False


def test_a_board_without_results_is_left_alone(ask):
    assert ask("page.rows()", lambda t: t.replace('id="board"', 'id="none"')) == []
