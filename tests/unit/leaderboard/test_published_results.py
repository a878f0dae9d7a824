"""The board for programs: results.json, results.csv, smoke runs, and the card of a Space."""

import csv
import io
import json

import pytest

pytest.importorskip("scipy")
from huggingface_hub import RepoCard

from kit.benchmark.tasks import load_tasks
from kit.core.digest import sha256_file
from kit.core.errors import UsageError
from kit.core.facts import facts_root
from kit.leaderboard.page.published import COLUMNS
from kit.leaderboard.page.rank import rank
from kit.leaderboard.page.site import render, write_site
from kit.leaderboard.page.space import space_card
from kit.leaderboard.submit.check import check
from kit.leaderboard.submit.entry import BoardEntry, Retraction
from kit.values.profile import Profile

TASKS = load_tasks(facts_root())
HOSTILE = '=HYPERLINK("x")'


@pytest.fixture
def site(submit, trusted, tmp_path):
    """Write the site of what was submitted."""

    def write(**more):
        board = rank(check(submit.root, trusted), facts_root(), TASKS)
        return write_site(board, tmp_path / "site", HOSTILE, len(TASKS), **more).parent

    return write


def test_every_run_is_in_both_files_with_the_same_fields(submit, site):
    submit(1, entry=BoardEntry("an-agent", HOSTILE, (1, 3)))
    submit(2, "b", entry=BoardEntry("b", None, (), None, None, Retraction("2026-02-01", "a fault")))
    submit(3, "c", profile=Profile.SMOKE)
    folder = site()
    document = json.loads((folder / "results.json").read_bytes())
    table = list(csv.DictReader(io.StringIO((folder / "results.csv").read_text())))
    assert document["title"] == HOSTILE and document["tasks"] == len(TASKS)
    assert [set(run) for run in document["runs"]] == [set(COLUMNS)] * 3
    assert [row["run"] for row in table] == [run["run"] for run in document["runs"]]
    first, gone, smoke = sorted(document["runs"], key=lambda run: run["run"])
    assert first["counted"] and first["hints"] == [1, 3] and first["started_at"].startswith("2026-")
    assert first["bundle_sha256"] == sha256_file(folder / first["bundle"])
    assert gone["retracted"] == "2026-02-01: a fault" and not gone["counted"] and gone["fsr"] is None
    assert smoke["arm"] == "smoke" and not smoke["counted"] and smoke["bundle"] is None
    by_run = {row["run"]: row for row in table}
    assert by_run[first["run"]]["model"] == f"'{HOSTILE}", "a spreadsheet must not compute a name"
    assert by_run[first["run"]]["hints"] == "1 3"
    assert float(by_run[first["run"]]["time_ms"]) == first["time_ms"]


def test_the_same_board_gives_the_same_bytes(submit, site):
    submit(1)
    names = ("results.json", "results.csv", "README.md")
    before = [(site(space=True) / name).read_bytes() for name in names]
    assert [(site(space=True) / name).read_bytes() for name in names] == before


@pytest.mark.parametrize(
    "change",
    [
        lambda own: b"# My project\n",
        lambda own: b"",
        lambda own: own + b"By me.\n",
        lambda own: own.replace(b"pinned: false", b"pinned: true"),
        lambda own: b"title: x\n" + own,
    ],
    ids=["another", "empty", "appended", "edited", "longer"],
)
def test_a_readme_that_the_kit_did_not_write_is_kept_and_nothing_is_written(submit, site, change):
    submit(1)
    card = site(space=True) / "README.md"
    page = card.with_name("index.html")
    page.unlink()
    changed = change(card.read_bytes())
    card.write_bytes(changed)
    with pytest.raises(
        UsageError, match=r"README\.md exists and is not a file that speedrun report wrote"
    ) as e:
        site(space=True)
    assert "omit --space" in e.value.hint
    assert card.read_bytes() == changed and not page.exists()
    assert site() == card.parent and page.exists() and card.read_bytes() == changed


def test_a_readme_that_is_a_directory_or_a_broken_link_is_kept(submit, site):
    submit(1)
    card = site() / "README.md"
    card.mkdir()
    with pytest.raises(UsageError, match="exists and is not a file"):
        site(space=True)
    card.rmdir()
    card.symlink_to("nowhere")
    with pytest.raises(UsageError, match="exists and is not a file"):
        site(space=True)


def test_a_card_with_another_title_is_replaced(submit, site):
    submit(1)
    card = site(space=True) / "README.md"
    mine = card.read_bytes()
    card.write_bytes(space_card("Another title\nin two lines"))
    assert (site(space=True) / "README.md").read_bytes() == mine


def test_a_board_with_nothing_but_smoke_runs_says_so_and_lists_them(submit, trusted, press):
    submit(1, profile=Profile.SMOKE)
    submit(2, "b", profile=Profile.SMOKE)
    submit(3, "c", signer=press.MAKE.test_only_key("a stranger"), profile=Profile.SMOKE)
    board = rank(check(submit.root, trusted), facts_root(), TASKS)
    page = render(board, "Board", len(TASKS))
    assert "This board has only smoke runs: 2 valid runs." in page
    assert "No result has been accepted yet." not in page
    assert [s.entry.agent for s in board.smoke] == ["an-agent", "b"], "an untrusted run is not valid"


def test_smoke_runs_do_not_hide_results(submit, trusted):
    submit(1)
    submit(2, "b", profile=Profile.SMOKE)
    page = render(rank(check(submit.root, trusted), facts_root(), TASKS), "Board", len(TASKS))
    assert "only smoke runs" not in page and "<h2>Smoke runs</h2>" in page and 'id="board"' in page


def test_rows_and_runs_have_their_day(submit, trusted):
    submit(1)
    page = render(rank(check(submit.root, trusted), facts_root(), TASKS), "Board", len(TASKS))
    assert page.count("2026-01-01") >= 2


def test_the_hub_reads_the_card_of_a_static_space(submit, site):
    submit(1)
    assert not (site() / "README.md").exists()
    card = RepoCard.load(site(space=True) / "README.md")
    assert card.data.to_dict() == {
        "title": HOSTILE, "colorFrom": "blue", "colorTo": "gray", "sdk": "static", "app_file": "index.html",
        "pinned": False,
    }  # fmt: skip
