"""The signed summary of a run, and the check of a run's directory against it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from fake_search import make_spec
from pressed_search import PressedEvaluator, press, pressed_run, pressed_spec, signer, trusted

from kit.agent.budget import BudgetLimit
from kit.agent.calls import CALLS
from kit.agent.events import (
    BudgetStopped,
    CallStarted,
    Decided,
    EndReason,
    Retimed,
    RunEnded,
    RunStarted,
    encode_event,
)
from kit.agent.journal import JOURNAL, open_journal, read_journal
from kit.agent.node import Action, ActionKind
from kit.agent.recorded import read_run
from kit.agent.spec import write_spec
from kit.agent.summary import PREDICATE_TYPE, SUMMARY, read_summary, summarize, write_summary
from kit.agent.verify import verify_run
from kit.agent.verify_order import order_faults
from kit.core.digest import canonical_json, sha256_bytes, sha256_file
from kit.core.errors import PrerequisiteError, SignatureError
from kit.result.keys import Trusted, throwaway
from kit.result.predicate import CompileCache, Series
from kit.result.verify import open_bundle
from kit.series.record import Arm, SeriesPlan, Slot, StopRule, close, reserved_series
from kit.values.profile import Profile


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    pressed_run(folder, pressed_spec(max_nodes=8))
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def faults(folder):
    return verify_run(folder, trusted()).faults


def rewrite(folder, change):
    """Change the journal's events and chain them again, as one who wants to hide something would."""
    prev, raw = "0" * 64, []
    for seq, line in enumerate(change(list(read_journal(folder / JOURNAL).lines))):
        document = {"seq": seq, "prev": prev, "time": line.time, "event": encode_event(line.event)}
        raw.append(canonical_json(document))
        prev = sha256_bytes(raw[-1])
    (folder / JOURNAL).write_bytes(b"".join(line + b"\n" for line in raw))


def test_an_untouched_run_has_no_faults(finished):
    check = verify_run(finished, trusted())
    assert check.faults == () and check.unnamed == ()
    assert check.complete and check.trusted


def test_the_summary_lists_every_node_with_its_bundle_and_sums(finished):
    signed = read_summary(finished / SUMMARY, trusted())
    run, told = read_run(finished), signed.summary
    assert len(told.nodes) == len(run.tree.nodes) == 9
    assert told.journal.head == run.contents.head and told.journal.lines == len(run.lines)
    for node in told.nodes:
        assert node.status is not None
        if node.run_id is not None:
            assert node.bundle_sha256 == sha256_file(finished / "bundles" / node.run_id / "result.json")
    tokens = sum(node.account.tokens.prompt_tokens or 0 for node in told.nodes)
    assert tokens == told.totals.account.tokens.prompt_tokens == told.totals.known.prompt_tokens
    assert told.totals.account.cost_usd == pytest.approx(told.totals.known.usd)
    times = {n.id: n.time_ms for n in told.nodes if n.time_ms is not None and n.action.kind != "control"}
    assert told.winner.node == min(times, key=times.get)


def test_tokens_that_no_endpoint_reports_are_null(finished):
    account = read_summary(finished / SUMMARY, trusted()).summary.totals.account
    assert account.tokens.cached_tokens is None and account.tokens.reasoning_tokens is None
    assert account.unreported > 0  # the fake's timeouts may be billed


def test_the_summary_is_an_in_toto_statement_of_its_own_type(finished):
    from kit.result import dsse

    envelope = dsse.envelope_of(dsse.parse_canonical((finished / SUMMARY).read_bytes(), SUMMARY))
    statement = json.loads(envelope.payload)
    assert statement["predicateType"] == PREDICATE_TYPE
    assert {s["name"]: s["digest"]["sha256"] for s in statement["subject"]} == {
        name: sha256_file(finished / name) for name in ("spec.json", JOURNAL)
    }


def test_an_edited_summary_is_refused(run):
    text = (run / SUMMARY).read_text()
    document = json.loads(text)
    payload = document["dsseEnvelope"]["payload"]
    document["dsseEnvelope"]["payload"] = (
        payload[:-8] + ("AAAA" if payload[-8:-4] != "AAAA" else "BBBB") + payload[-4:]
    )
    (run / SUMMARY).write_bytes(canonical_json(document))
    with pytest.raises(SignatureError):
        read_summary(run / SUMMARY, trusted())
    assert any(SUMMARY in fault for fault in faults(run))


def test_a_removed_last_line_is_seen(run):
    lines = (run / JOURNAL).read_bytes().splitlines(keepends=True)
    (run / JOURNAL).write_bytes(b"".join(lines[:-1]))
    assert any("lines are missing or added" in fault for fault in faults(run))


def test_a_removed_line_in_the_middle_breaks_the_chain(run):
    lines = (run / JOURNAL).read_bytes().splitlines(keepends=True)
    (run / JOURNAL).write_bytes(b"".join(lines[:40] + lines[41:]))
    check = verify_run(run, trusted())
    assert check.run is None
    assert any("line 41" in fault and "chain is broken" in fault for fault in check.faults)


def test_a_deleted_node_is_seen_even_if_the_chain_was_made_again(run):
    last = len(read_run(run).tree.nodes)

    def without_last_node(lines):
        return [x for x in lines if getattr(x.event, "node", None) != last]

    rewrite(run, without_last_node)
    found = faults(run)
    assert any("lines are missing or added" in fault for fault in found)
    assert any(f"differ in node {last}" in fault for fault in found)
    assert verify_run(run, trusted()).unnamed


def test_a_deleted_directory_of_a_node_is_seen(run):
    node = next(n for n in read_run(run).tree.nodes if n.submission_sha256 and n.action.kind != "control")
    shutil.rmtree(run / "nodes" / f"{node.id:03d}")
    assert any(f"node {node.id}:" in fault for fault in faults(run))


@pytest.mark.parametrize("part", ["request", "outcome"])
def test_an_edited_call_is_seen(run, part):
    path = sorted((run / CALLS).iterdir())[3]
    document = json.loads(path.read_bytes())
    if part == "request":
        document["request"]["messages"][0]["content"] += "!"
    else:
        document["outcome"]["attempts"][0]["latency_s"] += 1
    path.write_bytes(canonical_json(document) + b"\n")
    node, call = (int(n) for n in path.stem.split("-"))
    assert any(
        fault.startswith((f"call {call} of node {node}", f"{path}")) or path.name in fault
        for fault in faults(run)
    )


def test_a_removed_call_is_seen(run):
    path = sorted((run / CALLS).iterdir())[0]
    path.unlink()
    assert any("does not exist" in fault and path.name in fault for fault in faults(run))


def test_a_swapped_bundle_is_seen(run):
    one, other = sorted((run / "bundles").iterdir())[:2]
    one.rename(run / "kept")
    shutil.copytree(other, one)
    found = faults(run)
    assert any(one.name in fault and "digest" in fault for fault in found)


def test_an_evaluation_with_a_warm_compile_cache_is_a_fault(run, monkeypatch):
    def warm(path, trusted):
        bundle = open_bundle(path, trusted)
        p = bundle.predicate
        started = replace(p.run, compile_cache=CompileCache.WARM, compile_cache_sha256="0" * 64)
        return replace(bundle, statement=replace(bundle.statement, predicate=replace(p, run=started)))

    monkeypatch.setattr("kit.agent.verify_bundles.open_bundle", warm)
    found = faults(run)
    assert found and all("it started with a warm compile cache" in fault for fault in found)


def test_an_edited_file_of_a_bundle_is_seen(run):
    one = sorted((run / "bundles").iterdir())[2]
    log = one / "guest.log"
    log.write_bytes(log.read_bytes() + b"more\n")
    assert any(one.name in fault for fault in faults(run))


def test_a_better_time_in_the_journal_is_seen_without_a_summary(run):
    (run / SUMMARY).unlink()

    def faster(lines):
        for i, line in enumerate(lines):
            outcome = getattr(line.event, "outcome", None)
            if outcome is not None and outcome.time_ms is not None and line.event.node > 1:
                better = replace(outcome, time_ms=outcome.time_ms - 500)
                lines[i] = replace(line, event=replace(line.event, outcome=better))
                break
        return lines

    rewrite(run, faster)
    assert any("are not those of the bundle" in fault for fault in faults(run))


def test_another_spec_is_seen(run):
    write_spec(run / "spec.json", make_spec("flat"))
    assert any("policy.name" in fault for fault in faults(run))


@pytest.mark.parametrize(
    "name", ["submission/train_gpt2.py", "diff.patch", "answer-1.md", "prompt.md", "evaluated.json"]
)
def test_an_edited_file_of_a_node_is_seen(run, name):
    path = next(p for p in sorted((run / "nodes").glob(f"*/{name}")) if "001/" not in str(p))
    if name == "evaluated.json":
        path.write_bytes(path.read_bytes().replace(b'"val_loss":3', b'"val_loss":2'))
    else:
        path.write_bytes(path.read_bytes() + b"x")
    assert faults(run)


def test_a_bundle_that_no_node_names_is_listed_and_is_no_fault(run):
    evaluator = PressedEvaluator(run / "bundles")
    evaluator.evaluate(run / "nodes" / "001" / "submission", lambda run_id: None, lambda: False)
    check = verify_run(run, trusted())
    assert check.faults == () and check.unnamed == (f"bundles/{evaluator.made[0]}",)


def test_a_summary_of_another_key_than_the_bundles_is_a_fault(run):
    other = throwaway()
    write_summary(run, other)
    both = Trusted((*trusted().keys, other.public))
    assert any("signed by" in fault for fault in verify_run(run, both).faults)


def test_runs_without_isolation_have_throwaway_keys_and_the_summary_binds_them(tmp_path):
    folder = tmp_path / "run"
    pressed_run(folder, pressed_spec(max_nodes=3), evaluator=PressedEvaluator(folder / "bundles", host=True))
    check = verify_run(folder, trusted())
    assert check.faults == () and check.complete and check.trusted
    first, second, *_ = sorted((folder / "bundles").iterdir())
    shutil.rmtree(first)
    shutil.copytree(second, first)
    assert any("does not have the digest in the journal" in fault for fault in faults(folder))


def test_a_key_that_lies_beside_the_summary_is_not_trusted(run):
    check = verify_run(run, Trusted(()))
    assert check.faults == () and not check.trusted and check.complete


def test_a_run_without_a_summary_has_no_faults_and_is_not_complete(run):
    (run / SUMMARY).unlink()
    check = verify_run(run, trusted())
    assert check.faults == () and not check.complete


def test_an_unfinished_run_can_be_summarized(tmp_path, finished):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    lines = (run / JOURNAL).read_bytes().splitlines(keepends=True)
    cut = 1 + max(i for i, line in enumerate(lines) if b'"node_reserved"' in line)
    (run / JOURNAL).write_bytes(b"".join(lines[:cut]) + lines[cut][:20])
    summary = summarize(read_run(run))
    assert summary.end is None and summary.nodes[-1].status is None
    write_summary(run, signer())
    assert read_summary(run / SUMMARY, trusted()).summary == summary


def test_what_is_no_run_is_missing(tmp_path):
    with pytest.raises(PrerequisiteError, match="not the directory of an agent's run"):
        verify_run(tmp_path, trusted())


def test_every_scaffold_gives_a_valid_run(tmp_path):
    for scaffold in ("flat", "forest"):
        pressed_run(tmp_path / scaffold, pressed_spec(scaffold, max_nodes=6))
        assert faults(tmp_path / scaffold) == ()


SERIES = "s03-20261123T170000Z-1a2b3c4d"


def retime(run, change=lambda event: event):
    """Time the winner again in a series of three runs, and note it as the run does."""
    from statistics import fmean, stdev

    made = press()
    recorded = read_run(run)
    winner = recorded.tree.node(recorded.tree.winner())
    script = (run / "nodes" / f"{winner.id:03d}" / "submission" / "train_gpt2.py").read_bytes()
    times = (4100, 4200, 4330)
    slots = tuple(
        Slot(f"r03-20260101T000000Z-{900 + n:08x}", f"{900 + n:032x}", Arm.CANDIDATE, made.tree_of(script))
        for n in range(3)
    )
    at = "2026-01-01T00:00:00.000+00:00"
    plan = SeriesPlan(SERIES, at, 3, Profile.FULL, StopRule.ALL_RUNS, slots)
    with reserved_series(run / "bundles", plan, signer()) as (where, digest):
        extra = (("series", Series(plan.id, digest)),)
        for n, time in enumerate(times):
            made.press(run / "bundles", made.Sample(900 + n, script=script, extra=extra, time_ms=time))
        close(where, plan, signer(), "all runs finished")
    mean = fmean(times)
    fsr = (5000 - mean) / 1000
    event = Retimed(winner.id, SERIES, 3, winner.evaluation.time_ms, mean, stdev(times), fsr, 3)
    with open_journal(run, lambda: "2026-01-02T00:00:00+00:00")[0] as journal:
        journal.append(change(event))
    write_summary(run, signer())


def test_a_retimed_winner_is_in_the_summary_and_verified(run):
    retime(run)
    check = verify_run(run, trusted())
    assert check.faults == () and check.unnamed == ()
    assert check.summary.summary.retimed.mean_ms == pytest.approx(4210)


@pytest.mark.parametrize("extra_s, is_fault", [(0.0, False), (1.0, True), (-1.0, True)])
def test_a_summary_that_charges_the_retiming_as_older_versions_did_is_accepted(
    run, monkeypatch, extra_s, is_fault
):
    def older(recorded):
        now = summarize(recorded)
        known = now.totals.known
        gap = datetime.fromisoformat(now.last_at) - datetime.fromisoformat(recorded.lines[-2].time)
        known = replace(known, wall_s=known.wall_s + gap.total_seconds() + extra_s)
        return replace(now, totals=replace(now.totals, known=known))

    with monkeypatch.context() as patch:
        patch.setattr("kit.agent.summary.summarize", older)
        retime(run)
    assert read_summary(run / SUMMARY, trusted()).summary.totals != summarize(read_run(run)).totals
    assert [*faults(run)] == [f"{SUMMARY} states other sums of tokens, cost or time than the journal has"][
        : int(is_fault)
    ]


def test_a_score_of_an_older_version_beside_an_interleaved_series_is_named(run, monkeypatch):
    monkeypatch.setattr("kit.agent.verify_retimed.retimed_score", lambda *arguments: 0.25)
    retime(run)
    (fault,) = faults(run)
    assert "as older versions of the kit wrote it" in fault


@pytest.mark.parametrize("field", ["mean_ms", "fsr", "reached", "sd_ms", "search_ms"])
def test_a_wrong_figure_of_the_retiming_is_seen(run, field):
    retime(run, lambda event: replace(event, **{field: 1}))
    assert any("are not those of its runs" in fault for fault in faults(run))


def test_a_wrong_number_of_runs_of_the_retiming_is_seen(run):
    retime(run, lambda event: replace(event, runs=30))
    assert any("has 3 runs of the winner, the journal says 30" in fault for fault in faults(run))


def test_a_removed_run_of_the_retiming_is_seen(run):
    retime(run)
    shutil.rmtree(run / "bundles" / f"r03-20260101T000000Z-{901:08x}")
    assert any(SERIES in fault for fault in faults(run))


def test_a_retiming_of_another_node_is_seen(run):
    other = next(n.id for n in read_run(run).tree.nodes if n.submission_sha256)
    retime(run, lambda event: replace(event, node=other))
    assert any("another submission" in fault for fault in faults(run))


def test_an_fsr_against_other_times_than_the_specs_is_seen(run):
    (run / SUMMARY).unlink()

    def scaled(lines):
        for i, line in enumerate(lines):
            outcome = getattr(line.event, "outcome", None)
            if outcome is not None and outcome.fsr is not None:
                better = replace(outcome, fsr=10 * outcome.fsr + 1)
                lines[i] = replace(line, event=replace(line.event, outcome=better))
        return lines

    rewrite(run, scaled)
    assert any("FSR in the journal" in fault for fault in faults(run))


def with_tail(folder, *events):
    """Append lines to an open run's journal, chained, as its owner could."""
    rewrite(
        folder,
        lambda lines: (
            [line for line in lines if not isinstance(line.event, RunEnded)]
            + [replace(lines[-1], event=event) for event in events]
        ),
    )
    return faults(folder)


DRAFT, END = Action(ActionKind.DRAFT), EndReason.COMPLETE
TAILS = {
    "another winner": ([RunEnded(END, 1)], "it names node 1 as winner, not"),
    "two ends": ([RunEnded(END, None), RunEnded(END, None)], "after the end of the search"),
    "a second start": ([RunStarted(pressed_spec(), "0" * 64)], "the run starts again"),
    "a limit that the spec has not": (
        [BudgetStopped(BudgetLimit.USD, 0.0, 0.0, 0.0)],
        "the spec's limit of usd is None",
    ),
    "a call of a node that has ended": ([CallStarted(2, 9, "0" * 64, 1, 1, None)], "nobody worked"),
    "a decision out of order": ([Decided(99, (DRAFT,))], "decision 99 comes out of order"),
    "a retiming before the end": (
        [Retimed(2, "s", 1, 1.0, None, None, None, 0)],
        "node 2 is not the winner of a search that has ended",
    ),
}


@pytest.mark.parametrize("name", TAILS)
def test_a_forged_tail_is_seen_without_a_summary(run, name):
    (run / SUMMARY).unlink()
    events, told = TAILS[name]
    assert any(told in fault for fault in with_tail(run, *events))


def test_an_evaluation_cannot_lead_out_of_the_run(run):
    (run / SUMMARY).unlink()

    def elsewhere(lines):
        for i, line in enumerate(lines):
            outcome = getattr(line.event, "outcome", None)
            if outcome is not None:
                moved = replace(outcome, run_id=f"../../run/bundles/{outcome.run_id}")
                lines[i] = replace(line, event=replace(line.event, outcome=moved))
        return lines

    rewrite(run, elsewhere)
    assert any("is not the name of an evaluation" in fault for fault in faults(run))


FILES = {
    "spec.json": "spec.json",
    "call": "calls/*.json",
    "evaluated.json": "nodes/*/evaluated.json",
    "diff": "nodes/*/diff.patch",
    "answer": "nodes/*/answer-1.md",
    "prompt": "nodes/*/prompt.md",
    "bundle": "bundles/*/result.json",
}
"""A file of each kind that `agent verify` reads."""


@pytest.mark.parametrize("name", [*FILES, "script"])
def test_a_file_of_gigabytes_is_a_fault_and_is_not_read(run, name):
    path = sorted(run.glob(FILES.get(name, "nodes/*/submission/train_gpt2.py")))[-1]
    with path.open("r+b") as f:
        f.truncate(1 << 40)
    assert any("larger than" in fault for fault in faults(run))


@pytest.mark.parametrize("name", FILES)
def test_a_pipe_or_a_link_in_place_of_a_file_is_a_fault_and_is_not_waited_for(run, name):
    path = sorted(run.glob(FILES[name]))[-1]
    path.unlink()
    os.mkfifo(path)
    assert any("not a regular file" in fault for fault in faults(run))


def test_a_run_that_was_cut_after_any_line_and_resumed_is_in_order(tmp_path):
    whole = tmp_path / "whole"
    pressed_run(whole, pressed_spec(max_nodes=3), summary=False)
    lines = (whole / JOURNAL).read_bytes().splitlines(keepends=True)
    for kept in range(1, len(lines)):
        cut = Path(shutil.copytree(whole, tmp_path / str(kept)))
        (cut / JOURNAL).write_bytes(b"".join(lines[:kept]))
        pressed_run(cut, pressed_spec(max_nodes=3), summary=False)
        assert list(order_faults(read_run(cut))) == [], kept
