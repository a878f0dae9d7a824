"""Agents' runs on the board: only verified ones count, means and ranges are over seeds, names are escaped."""

from __future__ import annotations

import itertools
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("scipy")

from pressed_search import pressed_run, pressed_spec, trusted

from kit.agent.curve import AXES, steps_of
from kit.cli import run as speedrun
from kit.core.errors import PrerequisiteError
from kit.leaderboard.page.agent_runs import STATUS_CLASSES, band_of, read_agent_runs, shares_of
from kit.leaderboard.page.agent_section import agent_section
from kit.leaderboard.page.rank import Board
from kit.leaderboard.page.site import render
from kit.result.keys import Trusted

HOSTILE = "<script>alert(1)</script>\x1b[2J\u202eGPT"
EMPTY = Board((), (), (), (), ())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three seeds of one agent, one run of another, and one whose journal was cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)
        where = tmp_path_factory.mktemp("agents")
        for seed in (1, 2, 3):
            pressed_run(where / f"aide-{seed}", pressed_spec("aide", seed, max_nodes=8))
        spec = pressed_spec("flat", 1, max_nodes=4)
        pressed_run(where / "hostile", replace(spec, model=replace(spec.model, name=HOSTILE)))
        shutil.copytree(where / "aide-1", where / "cut")
        journal = where / "cut" / "journal.jsonl"
        journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
        shutil.copytree(where / "aide-2", where / "twice")
        (where / "no-run").mkdir()
    return where


@pytest.fixture(scope="module")
def found(runs):
    return read_agent_runs([runs], trusted())


def test_runs_are_grouped_by_all_but_their_seed(found):
    sizes = {group.label: [run.spec.seed for run in group.runs] for group in found.groups}
    assert sorted(sizes.values()) == [[1], [1, 2, 3]]


def test_what_does_not_verify_does_not_count(found):
    reasons = {Path(item.where).name: " ".join(item.reasons) for item in found.refused}
    assert set(reasons) == {"cut", "twice"}
    assert "lines are missing" in reasons["cut"] and "twice" in reasons["twice"]


def test_nothing_counts_without_a_trusted_key(runs):
    found = read_agent_runs([runs / "aide-1"], Trusted(()))
    assert not found.groups and "untrusted key" in found.refused[0].reasons[0]
    html = render(EMPTY, "t", 19, found)
    assert "best FSR</th>" not in html, "no table without a row"
    assert '<details class="small" open><summary>Runs that do not count' in html


def test_a_directory_without_a_run_is_refused(runs):
    with pytest.raises(PrerequisiteError, match="no agent's run"):
        read_agent_runs([runs / "no-run"], trusted())


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.name)
def test_the_band_is_mean_and_range_over_seeds(found, axis):
    group = max(found.groups, key=lambda g: len(g.runs))
    band = band_of(group, axis)
    assert [p.x for p in band] == sorted(p.x for p in band) and band[0].x == 0
    assert all(p.low <= p.mean <= p.high for p in band)
    assert all(one.mean <= other.mean for one, other in itertools.pairwise(band))
    ends = [points[-1].best for points in group.curves]
    assert band[-1].mean == pytest.approx(sum(ends) / 3)
    assert (band[-1].low, band[-1].high) == (min(ends), max(ends))
    for point in band:  # the value of each seed is that of its last node at or before the place
        values = [max(y for x, y in steps_of(points, axis) if x <= point.x) for points in group.curves]
        assert point.mean == pytest.approx(sum(values) / 3)


def test_shares_of_each_step_sum_to_one(found):
    group = max(found.groups, key=lambda g: len(g.runs))
    shares = shares_of(group)
    assert len(shares) == 8 and all(len(step) == len(STATUS_CLASSES) for step in shares)
    assert all(sum(step) == pytest.approx(1) for step in shares)
    first = [points[0].status for points in group.curves]
    valid = [STATUS_CLASSES[i][1] for i in (0, 1)]
    assert shares[0][0] + shares[0][1] == pytest.approx(sum(s in (*valid[0], *valid[1]) for s in first) / 3)


def test_the_page_shows_the_runs_and_escapes_their_names(found):
    html = render(EMPTY, "t", 19, found)
    assert "Agents' runs" in html or "Agents&#39; runs" in html
    assert "best FSR</th>" in html
    assert "<script>alert" not in html and "\x1b" not in html and "\u202e" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert html.count("<polygon") == len(AXES)  # a band for the group with three seeds
    assert html.count("<rect") >= 12  # at least one part for each step
    for attribute in re.findall(r'(?:points|x|y|width|height)="([^"]*)"', html):
        assert "nan" not in attribute and "inf" not in attribute


def test_a_page_without_agents_is_as_it_was():
    html = render(EMPTY, "t", 19)
    assert "Agents" not in html and "polygon" not in html
    assert html == render(EMPTY, "t", 19, read_agent_runs([], trusted()))


def test_the_table_has_the_sums(found):
    section = agent_section(found)
    row = next(row for row in section.table.rows if row[2] == "1, 2, 3")
    group = max(found.groups, key=lambda g: len(g.runs))
    tokens = sum(r.spent.known.prompt_tokens + r.spent.known.completion_tokens for r in group.runs)
    assert row[5] == "24" and row[9] == f"{tokens / 1e6:.3f}"
    assert "at most" in row[10]  # a timeout of the fake may be billed


def test_report_takes_directories_of_runs(runs, tmp_path, press, capsys):
    (tmp_path / "board" / "submissions").mkdir(parents=True)
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    (keys / "them.pem").write_bytes(press.MAKE.SIGNER.public.pem)
    argv = ["report", str(tmp_path / "board"), "--out", str(tmp_path / "site"), "--keys", str(keys)]
    assert speedrun([*argv, "--agents", str(runs)]) == 0
    assert "4 runs of agents, 2 not accepted" in capsys.readouterr().err
    assert "best FSR so far by GPU-hours" in (tmp_path / "site" / "index.html").read_text()
