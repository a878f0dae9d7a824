"""The board counts what counts, says who reproduced what, keeps retractions, and loads nothing."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib import resources

import pytest
from jinja2 import UndefinedError

pytest.importorskip("scipy")

from kit.audit.baseline import UNTIMED_OVERHEAD, UNTIMED_OVERHEAD_FIGURE, WARMUP
from kit.benchmark.tasks import load_task, load_tasks
from kit.cli import run as speedrun
from kit.core.digest import sha256_file
from kit.core.errors import IntegrityError
from kit.core.facts import facts_root
from kit.leaderboard.page.legend import HEADS
from kit.leaderboard.page.plots import PlotDot, PlotLine, dots_plot, lines_plot
from kit.leaderboard.page.rank import rank
from kit.leaderboard.page.rendering import html_environment
from kit.leaderboard.page.site import render, write_site
from kit.leaderboard.page.tables import group_row
from kit.leaderboard.submit.check import check
from kit.leaderboard.submit.entry import BoardEntry, Retraction, write_submission
from kit.leaderboard.submit.series import verify_whole_series, write_series_submission
from kit.result.appraisal.trust import Tier
from kit.result.keys import Trusted
from kit.result.predicate import Audit, AuditCheck, Outcome, Reproduces, Series, Severity
from kit.result.verify import open_bundle
from kit.series.record import Arm, SeriesPlan, Slot, StopRule, close, new_series_id, reserved_series
from kit.values.profile import Profile

TASKS = load_tasks(facts_root())
SCRIPT = b"# a candidate\n"


@pytest.fixture
def board(tmp_path, press):
    """A repository that can be filled and looked at."""
    other = press.MAKE.test_only_key("other")

    class Repository:
        root = tmp_path / "board"
        trusted = Trusted((press.MAKE.SIGNER.public, other.public))

        def add(self, number, share=0.5, entry=None, signer=press.MAKE.SIGNER, task=3, **fields):
            found = load_task(facts_root(), task)
            time_ms = round(found.start.retimed_ms - share * found.gap_ms)
            given = {"record": task, "next_record": found.target.number, "time_ms": time_ms, **fields}
            folder = press.press(tmp_path / "runs", press.Sample(number, **given), signer)
            write_submission(open_bundle(folder, self.trusted), entry or BoardEntry("an-agent"), self.root)
            return folder

        def repeat(self, first, number, signer=other, entry=None, **fields):
            found = open_bundle(first, self.trusted)
            named = Reproduces(found.predicate.run.id, found.key_id, sha256_file(found.path))
            script = (first / "submission" / "train_gpt2.py").read_bytes()
            extra = (("reproduces", named),)
            entry = entry or BoardEntry("rerun")
            return self.add(number, entry=entry, signer=signer, script=script, extra=extra, **fields)

        def series(self, first, made, runs=None, entry=None, end=True):
            """Run a series of which `made` candidates were made, and submit it whole."""
            entry, runs = entry or BoardEntry("an-agent"), runs or made
            slots = tuple(
                Slot(f"r03-20260101T000000Z-{n:08x}", f"{n:032x}", Arm.CANDIDATE, press.tree_of(SCRIPT))
                for n in range(first, first + runs)
            )
            plan = SeriesPlan(
                new_series_id(3), "2026-01-01T00:00:00.000+00:00", 3, Profile.FULL, StopRule.ALL_RUNS, slots
            )
            found = load_task(facts_root(), 3)
            time_ms = round(found.start.retimed_ms - 0.6 * found.gap_ms)
            with reserved_series(tmp_path / "runs", plan, press.MAKE.SIGNER) as (where, digest):
                extra = (("series", Series(plan.id, digest)),)
                for n in range(first, first + made):
                    sample = press.Sample(n, script=SCRIPT, time_ms=time_ms, extra=extra)
                    press.press(tmp_path / "runs", sample)
                if end:
                    close(where, plan, press.MAKE.SIGNER, "cancelled")
            write_series_submission(where, *verify_whole_series(where, self.trusted), entry, self.root)

        def rank(self):
            return rank(check(self.root, self.trusted), facts_root(), TASKS)

    return Repository()


def test_every_accepted_run_counts_the_failed_ones_as_0(board):
    board.add(1, share=0.6)
    board.add(2, share=0.4, final_loss=3.2801)
    (group,) = board.rank().groups
    assert group.score.mean == pytest.approx(0.3, abs=1e-3)
    assert (group.score.reached, len(group.results)) == (1, 2)


def test_only_a_run_that_reached_the_target_has_the_best_time(board):
    board.add(1, time_ms=9_000)
    board.add(2, time_ms=20, final_loss=3.6)
    assert cells_of(board)["Best time"].text == "9.0 s"


def test_without_a_run_that_reached_the_target_there_is_no_best_time(board):
    board.add(1, final_loss=3.6)
    assert cells_of(board)["Best time"].text == "–"


def test_the_mean_loss_has_no_loss_of_a_run_that_was_refused(board, press):
    """A look-ahead prints 0.09: with it, two honest runs above the target would have a mean far below."""
    failed = AuditCheck("canary.to_end.model", Severity.FATAL, Outcome.FAILED, "x", ())
    checks = (*press.checks_for("screened"), failed)
    board.add(1, final_loss=3.2850)
    board.add(2, final_loss=3.2870)
    board.add(3, final_loss=0.09, time_ms=10, extra=(("audit", Audit(checks, 2)),))
    cells = cells_of(board)
    assert (cells["Mean loss"].text, cells["Mean loss"].notes) == ("3.2860", ("p = 0.947",))
    assert (cells["Reached"].text, cells["Best time"].text) == ("0 of 3", "–")


def cells_of(board):
    """Return the cells of the board's only row by label."""
    (group,) = board.rank().groups
    return {cell.label: cell for cell in group_row(group).cells}


def test_a_run_that_was_reserved_and_never_started_counts_as_0(board):
    board.series(1, made=2, runs=4)
    (group,) = board.rank().groups
    assert group.score.mean == pytest.approx(0.3, abs=1e-3)
    assert (group.score.reached, len(group.score.runs), group.reserved, group.chosen) == (2, 4, 4, 0)


def test_the_page_publishes_how_many_runs_were_reserved_and_how_many_were_chosen(board):
    board.series(1, made=2)
    board.series(10, made=0, runs=5, end=False)
    board.add(20)
    text = render(board.rank(), "Board", len(TASKS))
    assert "7 reserved in 2 series" in text and "1 not in a series" in text
    assert "in progress" in text and "5 candidate" in text


def test_a_series_of_which_nothing_started_is_listed_and_counts_once_there_is_a_result(board):
    board.series(1, made=0, runs=2)
    text = render(board.rank(), "Board", len(TASKS))
    assert board.rank().groups == () and "2 never started" in text
    board.add(5)
    assert [g.score.mean for g in board.rank().groups] == [pytest.approx(0.5 / 3, abs=1e-3)]


def test_a_retracted_series_is_listed_as_that_and_scores_nothing(board):
    gone = BoardEntry("an-agent", retracted=Retraction("2026-02-01", "another GPU"))
    board.series(1, made=1, runs=2, entry=gone)
    (group,) = board.rank().groups
    assert group.score is None
    assert "retracted on 2026-02-01: another GPU" in render(board.rank(), "Board", len(TASKS))


def test_what_a_run_needed_outside_its_clock_counts_and_is_shown(board, press):
    gap = load_task(facts_root(), 3).gap_ms
    check = AuditCheck(
        UNTIMED_OVERHEAD.id,
        Severity.WARNING,
        Outcome.PASSED,
        "x",
        ((UNTIMED_OVERHEAD_FIGURE, 0.1 * gap / 1000),),
    )
    checks = press.checks_for("screened")
    assert any(c.id == WARMUP.id for c in checks)
    board.add(1, share=0.5, extra=(("audit", Audit((check, *checks), 2)),))
    (group,) = board.rank().groups
    assert group.score.mean == pytest.approx(0.4, abs=1e-3)
    assert "untimed overhead</span>" in render(board.rank(), "Board", len(TASKS))


def test_an_interleaved_series_is_scored_between_its_own_arms_with_what_it_needs_outside_its_clock(
    board, press, tmp_path, monkeypatch
):
    scripts = {Arm.START: b"# 3\n", Arm.TARGET: b"# 4\n", Arm.CANDIDATE: SCRIPT}
    own = {3: scripts[Arm.START], 4: scripts[Arm.TARGET]}
    for place in ("kit.series.documents", "kit.score.rows"):
        monkeypatch.setattr(f"{place}.own_digest", lambda r: press.tree_of(own.get(r.number, b"?")))
    times = {Arm.START: 9_000, Arm.TARGET: 5_000, Arm.CANDIDATE: 6_000}
    arms = 2 * tuple(times)
    ids = {n: f"r{4 if arm is Arm.TARGET else 3:02d}-20260101T000000Z-{n:08x}" for n, arm in enumerate(arms)}
    slots = tuple(Slot(ids[n], f"{n:032x}", arm, press.tree_of(scripts[arm])) for n, arm in enumerate(arms))
    created = "2026-01-01T00:00:00.000+00:00"
    plan = SeriesPlan(new_series_id(3), created, 3, Profile.FULL, StopRule.ALL_RUNS, slots)
    with reserved_series(tmp_path / "runs", plan, press.MAKE.SIGNER) as (where, digest):
        for n, arm in enumerate(arms):
            sample = press.Sample(
                n, script=scripts[arm], time_ms=times[arm] + n, late_s=1.0 if arm is Arm.CANDIDATE else 0.0,
                extra=(("series", Series(plan.id, digest)),),
                **({"record": 4, "next_record": 5} if arm is Arm.TARGET else {}),
            )  # fmt: skip
            press.press(tmp_path / "runs", sample)
        close(where, plan, press.MAKE.SIGNER, "all runs finished")
    write_series_submission(
        where, *verify_whole_series(where, board.trusted), BoardEntry("an-agent"), board.root
    )
    (group,) = board.rank().groups
    assert [r.time.untimed_overhead for r in group.results] == [1000.0, 1000.0]
    assert group.score.kinds == ("same-machine",)
    assert group.score.mean == pytest.approx((9_000 - 7_000) / (9_000 - 5_000), abs=1e-3)
    assert {g.task for g in board.rank().baselines} == {3, 4}


def test_what_was_not_accepted_is_listed_with_its_reasons_and_has_no_score(board, press):
    board.add(1)
    board.add(2, profile=Profile.SMOKE)
    board.add(3, signer=press.MAKE.STRANGER, entry=BoardEntry("stranger"))
    found = board.rank()
    assert [len(g.results) for g in found.groups] == [1]
    reasons = {r.where.split("/")[2]: " ".join(r.reasons) for r in found.refused}
    assert "smoke" in reasons["an-agent"] and "signed by untrusted key" in reasons["stranger"]


@pytest.mark.parametrize("how", ["edited", "link"])
def test_a_bundle_that_changed_since_it_was_checked_is_not_published(board, tmp_path, how):
    board.add(1)
    found = board.rank()
    bundle = found.groups[0].results[0].submitted.where / "result.json"
    bundle.unlink()
    (tmp_path / "secret").write_text("123456")
    if how == "edited":
        bundle.write_text("123456")
    else:
        bundle.symlink_to(tmp_path / "secret")
    with pytest.raises(IntegrityError, match=r"not a regular file|changed after it was verified"):
        write_site(found, tmp_path / "site", "Board", len(TASKS))
    assert not (tmp_path / "site" / "bundles").exists()


def test_a_retracted_run_stays_listed_without_a_score(board):
    board.add(1, share=0.2)
    board.add(2, share=0.9, entry=BoardEntry("an-agent", retracted=Retraction("2026-02-01", "a leak")))
    (group,) = board.rank().groups
    assert group.score.mean == pytest.approx(0.2, abs=1e-3)
    assert [r.submitted.entry.retracted is not None for r in group.results] == [False, True]
    text = render(board.rank(), "Board", len(TASKS))
    assert "<b>retracted</b> on 2026-02-01: a leak" in text


def test_only_a_rerun_under_another_trusted_key_that_agrees_makes_reproduced(board, press):
    first = board.add(1)
    assert board.rank().groups[0].results[0].reproduced_by == ()
    board.repeat(first, 2, signer=press.MAKE.SIGNER)
    assert board.rank().groups[0].results[0].reproduced_by == ()
    board.repeat(first, 3)
    (group,) = board.rank().groups
    assert len(group.results[0].reproduced_by) == 1
    assert "reproduced: 1 of 1" in render(board.rank(), "Board", len(TASKS))


@pytest.mark.parametrize("loss", [3.278, 3.2901])
def test_a_rerun_that_was_retracted_is_evidence_for_and_against_nobody(board, loss):
    gone = Retraction("2026-02-01", "another machine than it says")
    board.repeat(board.add(1), 2, entry=BoardEntry("rerun", retracted=gone), final_loss=loss)
    (group,) = board.rank().groups
    assert group.results[0].reproduced_by == () and group.results[0].contradicted_by == ()


def test_a_rerun_that_disagrees_is_shown_too(board):
    board.repeat(board.add(1), 2, final_loss=3.2901)
    (group,) = board.rank().groups
    assert group.results[0].reproduced_by == () and len(group.results[0].contradicted_by) == 1
    assert "rerun disagrees: 1" in render(board.rank(), "Board", len(TASKS))


def test_a_rerun_is_evidence_and_not_a_run_of_its_own(board):
    board.repeat(board.add(1), 2)
    assert [g.agent for g in board.rank().groups] == ["an-agent"]


def test_a_groups_tier_is_the_lowest_of_its_runs(board):
    board.add(1, tier="canary + held-out")
    assert board.rank().groups[0].tier is Tier.CANARY_HELD_OUT
    board.add(2, tier="screened")
    assert board.rank().groups[0].tier is Tier.SCREENED


def test_agents_models_and_hints_are_compared_apart(board):
    for number, entry in enumerate(
        (BoardEntry("a"), BoardEntry("a", "m"), BoardEntry("a", "m", (1,)), BoardEntry("b", "m", (1,)))
    ):
        board.add(number, entry=entry, share=0.1 * number)
    found = board.rank()
    assert len(found.groups) == len(found.overall) == 4
    assert [g.score.mean for g in found.groups] == sorted((g.score.mean for g in found.groups), reverse=True)


class Page(HTMLParser):
    """What a page would load, and whether its tags fit."""

    VOID = frozenset({"meta", "br", "input", "link", "img"})

    def __init__(self):
        super().__init__()
        self.open, self.links, self.loads, self.tags, self.seen = [], [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        named = dict(attrs)
        self.links += [named["href"]] if "href" in named else []
        self.loads += [named[k] for k in ("src", "srcset", "data", "action") if k in named]
        assert not [name for name in named if name.startswith("on") or name == "style"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.seen += data


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{ 7 * 7 }} {% raw %}"


def test_the_page_is_whole_loads_nothing_and_escapes_what_others_wrote(board):
    gone = Retraction("2026-02-01", HOSTILE)
    board.add(1, entry=BoardEntry("a", HOSTILE[:100], (1,), HOSTILE, "https://example.org/'><script>x"))
    board.add(2, entry=BoardEntry("b", None, (), HOSTILE, None, gone), share=0.3)
    board.add(3, profile=Profile.SMOKE)
    text = render(board.rank(), HOSTILE, len(TASKS))
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == [] and page.loads == []
    assert page.tags.count("script") == 1 and "img" not in page.tags
    own = ("bundles/", "results.json", "results.csv")
    assert all(link.startswith((*own, "https://example.org/")) for link in page.links)
    assert text.count("<script>") == 1
    assert "{{ 7 * 7 }}" in text and "49}}" not in text
    assert page.seen.count(HOSTILE) >= 2


def test_hidden_characters_are_replaced_wherever_a_template_shows_a_text(board):
    board.add(1)
    text = render(board.rank(), "a\u202eb\u0000c\u200bd", len(TASKS))
    assert text.count("<h1>a\ufffdb\ufffdc\ufffdd</h1>") == 1
    assert not set("\u202e\u0000\u200b") & set(text)


def test_the_templates_are_strict_escape_everything_and_mark_no_text_as_safe():
    environment = html_environment()
    assert environment.autoescape is True
    names = environment.list_templates()
    assert names == ["page.html", "page.js", "plot.svg", "plots.html", "tables.html"]
    for name in names:
        source = environment.loader.get_source(environment, name)[0]
        assert not re.search(r"\|\s*safe|autoescape|Markup|=\{\{", source), name
    template = environment.from_string("<p title='{{ text }}'>{{ text }}</p>")
    assert template.render(text="'\"<&>") == "<p title='&#39;&#34;&lt;&amp;&gt;'>&#39;&#34;&lt;&amp;&gt;</p>"
    with pytest.raises(UndefinedError, match="'absent' is undefined"):
        environment.from_string("{{ absent }}").render()


def test_the_page_holds_its_script_byte_for_byte(board):
    board.add(1)
    script = resources.files("kit.leaderboard.page").joinpath("templates/page.js").read_text()
    assert f"<script>{script}</script>" in render(board.rank(), "Board", len(TASKS))


def test_the_page_explains_every_tier_and_every_column(board):
    board.add(1)
    text = render(board.rank(), "Board", len(TASKS))
    legend = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text))
    assert set(legend) == {*map(str, Tier), "reproduced", *(head.name for head in HEADS)}
    assert all(len(about) > 20 for about in legend.values())


def test_the_policy_of_the_page_allows_its_own_script_and_no_other(board):
    board.add(1)
    text = render(board.rank(), "Board", len(TASKS))
    script = re.search(r"<script>(.*)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text


def test_without_a_script_everything_is_there_but_the_controls(board):
    board.add(1)
    text = render(board.rank(), "Board", len(TASKS))
    assert '<div id="tools" hidden>' in text
    assert "0.500" in text and "<svg" in text


def test_an_empty_board_says_so(board):
    (board.root / "submissions").mkdir(parents=True)
    assert "No result has been accepted yet." in render(board.rank(), "Board", len(TASKS))


def test_the_site_has_every_bundle_that_the_page_links_to_and_the_same_bytes_twice(board, tmp_path):
    board.add(1)
    board.add(2, entry=BoardEntry("b"))
    page = write_site(board.rank(), tmp_path / "site", "Board", len(TASKS))
    before = page.read_bytes()
    links = re.findall(r'href="(bundles/[^"]+)"', before.decode())
    assert len(links) == 2
    for link in links:
        assert open_bundle(
            page.parent / link,
            board.trusted,
            bundle_only=True,
        ).trusted
    assert write_site(board.rank(), tmp_path / "site", "Board", len(TASKS)).read_bytes() == before


def test_a_curve_is_cut_where_it_enters_the_plot():
    plot = lines_plot([PlotLine("a", ((0, 10.8), (10, 6.0), (20, 3.5), (30, 3.28)), 0)], "s", "nats", 3.28)
    points = [tuple(map(float, p.split(","))) for p in plot.curves[0].path.split()]
    assert len(points) == 3
    assert points == sorted(points)
    assert lines_plot([PlotLine("a", (), 0)], "s", "nats", 3.28) is None


def test_an_interval_that_has_no_end_is_not_drawn():
    plot = dots_plot([PlotDot("task 3", "a", 0.5, float("-inf"), float("inf"), 1)], "FSR")
    assert len(plot.dots) == 1 and plot.dots[0].interval is None and "inf" not in repr(plot)
    assert dots_plot([PlotDot("task 3", "a", float("nan"), None, None, 1)], "FSR") is None


def test_the_command_writes_the_page(board, press, tmp_path, capsys):
    board.add(1)
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "a.pem").write_bytes(press.MAKE.SIGNER.public.pem)
    site = tmp_path / "site"
    assert speedrun(["report", str(board.root), "--out", str(site), "--keys", str(keys), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["fsr"] == pytest.approx(0.5, abs=1e-3) and (site / "index.html").is_file()
