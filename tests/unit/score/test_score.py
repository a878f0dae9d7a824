"""Every run and every task counts; what a score was measured between is said; the paper's rules are apart."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from python_file import load_file

pytest.importorskip("scipy")

from kit.benchmark.records import load, own_digest
from kit.benchmark.tasks import load_task, load_tasks
from kit.cli import run
from kit.core.digest import sha256_bytes
from kit.core.errors import KitError, PrerequisiteError, SchemaError, UsageError
from kit.core.facts import facts_root
from kit.result.keys import Trusted
from kit.result.predicate import Audit, AuditCheck, CompileCache, Outcome, Predicate, Severity, Verdict
from kit.result.statement import Statement, Subjects
from kit.result.verify import VerifiedBundle
from kit.score import rows as rows_module
from kit.score.baseline import BaselineKind, choose_baseline
from kit.score.paper import paper_fsr, paper_score
from kit.score.report import score
from kit.score.rows import Role, Row, read_bundles, read_table
from kit.values.profile import Profile

ROOT = facts_root()
TASKS = load_tasks(ROOT)
FEW = {"repetitions": 200}


def row(task: int, time_ms: float | None, val_loss: float | None = 3.279, **rest: object) -> Row:
    plain = Row(task, "a", Role.CANDIDATE, "m", "1", val_loss, time_ms, None, "test")
    return dataclasses.replace(plain, **rest)  # type: ignore[arg-type]


def arms(task: int, start: list[float], target: list[float], machine: str = "m") -> list[Row]:
    named = [(Role.START, start), (Role.TARGET, target)]
    return [
        row(task, ms, role=role, run=str(n), config="", machine=machine)
        for role, times in named
        for n, ms in enumerate(times)
    ]


def test_a_run_at_the_targets_time_scores_1_and_at_the_starts_0() -> None:
    task = load_task(ROOT, 4)
    for time_ms, expected in ((task.start.retimed_ms, 0.0), (task.target.retimed_ms, 1.0)):
        found = score([row(4, time_ms)], TASKS, partial=True, **FEW)[0]
        assert found.figures[0].value == pytest.approx(expected)
        assert found.tasks[0].kinds == (BaselineKind.RETIMED,)


@pytest.mark.parametrize(
    "failed",
    [
        row(4, None),
        row(4, 900_000, None),
        row(4, 900_000, 3.2801),
        row(4, None, None),
        row(4, None, 3.29, fsr=2.0),
    ],
)
def test_a_failed_run_scores_0_and_counts(failed: Row) -> None:
    good = row(4, load_task(ROOT, 4).target.retimed_ms, run="2")
    found = score([failed, good], TASKS, partial=True, **FEW)[0]
    assert (found.tasks[0].mean, found.tasks[0].reached) == (pytest.approx(0.5), 1)


def test_a_loss_of_exactly_the_target_is_reached() -> None:
    assert score([row(4, 1_000_000, 3.28)], TASKS, **FEW)[0].tasks[0].reached == 1


def test_slower_than_the_start_is_kept_as_measured_and_counts_0() -> None:
    found = score([row(4, 2_000_000)], TASKS, partial=True, **FEW)[0].tasks[0]
    assert found.runs[0].fsr < -1
    assert (found.runs[0].counted, found.mean) == (0.0, 0.0)


def test_better_than_the_target_is_not_cut() -> None:
    assert score([row(4, 500_000)], TASKS, partial=True, **FEW)[0].tasks[0].mean > 2


def test_all_19_tasks_count_unless_the_score_is_partial() -> None:
    rows = [row(4, load_task(ROOT, 4).target.retimed_ms)]
    whole, part = (score(rows, TASKS, partial=p, **FEW)[0] for p in (False, True))
    assert (len(whole.absent), whole.figures[0].value) == (18, pytest.approx(1 / 19))
    assert (part.absent, part.figures[0].value) == (whole.absent, pytest.approx(1))


def test_configurations_are_scored_apart_and_sorted() -> None:
    rows = [row(4, 1_000_000, config="b"), row(4, 900_000, config="a")]
    assert [c.config for c in score(rows, TASKS, **FEW)] == ["a", "b"]


def test_the_best_baseline_that_the_runs_allow_is_taken_and_said() -> None:
    task, both = load_task(ROOT, 4), arms(4, [1000.0, 1010.0], [800.0, 810.0])
    start = [r for r in both if r.role is Role.START]
    assert choose_baseline(task, "m", both, None).kind is BaselineKind.SAME_MACHINE
    assert choose_baseline(task, "other", both, None).kind is BaselineKind.RETIMED, (
        "another machine's times are no baseline"
    )
    scaled = choose_baseline(task, "m", start, None)
    assert (scaled.kind, scaled.start_ms) == (BaselineKind.SCALED, 1005.0)
    assert scaled.target_ms == pytest.approx(1005.0 * task.target.retimed_ms / task.start.retimed_ms)
    official = choose_baseline(task, "m", both, BaselineKind.OFFICIAL)
    assert (official.start_ms, official.target_ms) == pytest.approx((1_338_000, 912_000))


def test_a_baseline_that_was_asked_for_is_never_replaced() -> None:
    with pytest.raises(PrerequisiteError) as refusal:
        score([row(4, 900_000)], TASKS, baseline_kind=BaselineKind.SAME_MACHINE, **FEW)
    assert "--baseline" in refusal.value.hint


def test_a_target_that_is_no_faster_here_is_no_scale() -> None:
    rows = arms(4, [1000.0], [1001.0])
    assert choose_baseline(load_task(ROOT, 4), "m", rows, None).kind is BaselineKind.SCALED
    with pytest.raises(PrerequisiteError):
        choose_baseline(load_task(ROOT, 4), "m", rows, BaselineKind.SAME_MACHINE)


def test_an_interval_is_given_where_all_arms_ran_twice_here() -> None:
    mine = [row(4, 900.0, run="1"), row(4, 905.0, run="2")]
    clear = score([*arms(4, [1000.0, 1002.0], [800.0, 802.0]), *mine], TASKS, **FEW)[0].tasks[0]
    assert clear.ratio is not None
    assert not clear.unresolved
    assert clear.ratio.low < clear.mean < clear.ratio.high
    noisy = score([*arms(4, [1000.0, 1100.0], [990.0, 1080.0]), *mine], TASKS, **FEW)[0].tasks[0]
    assert noisy.unresolved
    once = score([*arms(4, [1000.0], [800.0]), *mine], TASKS, **FEW)[0].tasks[0]
    assert once.ratio is None


def test_a_target_that_is_slower_here_is_unresolved_also_with_another_baseline() -> None:
    mine = [row(4, 900.0, run="1"), row(4, 905.0, run="2")]
    rows = [*arms(4, [1000.0, 1010.0], [1005.0, 1015.0]), *mine]
    (task,) = score(rows, TASKS, **FEW)[0].tasks
    assert (task.unresolved, task.kinds) == (True, (BaselineKind.SCALED,))
    (asked,) = score(rows, TASKS, baseline_kind=BaselineKind.OFFICIAL, **FEW)[0].tasks
    assert asked.ratio is None


def test_the_losses_of_all_runs_are_tested_against_the_target() -> None:
    rows = [row(4, 900_000, loss, run=str(loss)) for loss in (3.279, 3.2785, 3.2795)]
    loss = score(rows, TASKS, **FEW)[0].tasks[0].loss
    assert loss is not None
    assert (loss.runs, loss.mean) == (3, pytest.approx(3.279))
    assert loss.p == pytest.approx(0.0371, abs=1e-3)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], "no run to score$"),
        (arms(4, [1.0], [0.5]), "no run to score: only 2 runs of records' own scripts, the baselines"),
        ([row(6, 1.0)], "unknown task 6"),
        ([row(21, 1.0)], "unknown task 21"),
    ],
)
def test_what_cannot_be_scored_is_refused(rows: list[Row], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        score(rows, TASKS, **FEW)


class TestPaperRules:
    def test_by_hand_best_three_of_five_and_a_padded_task(self) -> None:
        given = [(1, f) for f in (0.1, 0.5, 0.3, 0.9, 0.2)] + [(2, 0.4), (2, 0.6)]
        rows = [row(t, None, None, fsr=f, run=str(n)) for n, (t, f) in enumerate(given)]
        found = paper_score(rows, TASKS, **FEW)[0]
        assert found.cells == ((1, (0.9, 0.5, 0.3)), (2, (0.6, 0.4, 0.4)))
        assert (found.runs, found.left_out, found.padded) == (7, 2, 1)
        # Means of the ranks: 0.75, 0.45, 0.35; their mean 31/60, population sd sqrt(0.0289).
        assert found.mean == pytest.approx(31 / 60)
        assert found.plus_minus == pytest.approx(np.std([0.75, 0.45, 0.35]) / math.sqrt(2))

    def test_start_record_20_is_dropped(self) -> None:
        assert [c[0] for c in paper_score([row(20, 1.0), row(19, 1.0)], TASKS, **FEW)[0].cells] == [19]
        with pytest.raises(UsageError):
            paper_score([row(20, 184_000)], TASKS, **FEW)

    @pytest.mark.parametrize(
        ("loss", "factor", "expected"),
        [
            (3.2899, 1.0, 1.0),
            (3.29, 1.0, 0.0),
            (None, 1.0, 0.0),
            (3.27, -0.5, 0.0),
            (3.27, 3.0, 3.0),
            (3.27, 3.01, 0.0),
        ],
    )
    def test_bounds(self, loss: float | None, factor: float, expected: float) -> None:
        task = load_task(ROOT, 12)
        found = paper_fsr(task, row(12, task.start.retimed_ms - factor * task.gap_ms, loss))
        assert found == pytest.approx(expected)

    def test_intervals_resample_tasks_within_a_rank(self) -> None:
        rows = [row(t, None, None, fsr=f) for t, f in ((1, 0.0), (2, 1.0))]
        found = paper_score(rows, TASKS, repetitions=4000)[0].figures[0]
        assert (found.value, found.low, found.high) == (
            0.5,
            pytest.approx(0.1, abs=0.1),
            pytest.approx(0.9, abs=0.1),
        )


HEAD = "task,config,role,machine,run,val_loss,train_time_ms,fsr\n"


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "runs.csv"
    path.write_text(text)
    return path


def test_a_table_is_read_with_its_defaults_and_failed_runs(tmp_path: Path) -> None:
    text = "task,val_loss,train_time_ms\n4,3.279,1000\n4,,\n"
    assert read_table(table(tmp_path, text)) == (
        Row(4, "default", Role.CANDIDATE, "", "1", 3.279, 1000.0, None, f"{tmp_path}/runs.csv:2"),
        Row(4, "default", Role.CANDIDATE, "", "2", None, None, None, f"{tmp_path}/runs.csv:3"),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a column is unknown, missing or repeated: none"),
        ("task,config\n", "a column is unknown, missing or repeated"),
        ("task,val_loss\n4,3.2\n", "a column is unknown, missing or repeated"),
        (HEAD + "four,a,,,1,3.2,1,\n", ":2: "),
        ("task,fsr\n21C,1\n", ":2: task is '21C', not the name of a task"),
        ("task,fsr\n-4,1\n", ":2: task is '-4', not the name of a task"),
        ("task,fsr\n4_0,1\n", ":2: task is '4_0', not the name of a task"),
        ("task,fsr\nsmoke-1,1\n", ":2: task is smoke-1: smoke runs have no score"),
        (HEAD + "4,a,judge,,1,3.2,1,\n", "judge"),
        (HEAD + "4,a,,,1,three,1,\n", "'three'"),
        (HEAD + "4,a,,,1,3.2,-1,\n", "-1"),
        (HEAD + "4,a,,,1,3.2,-inf,\n", ":2: train_time_ms is '-inf', not a finite number"),
        (HEAD + "4,a,,,1,3.2,1e200,\n", ":2: train_time_ms is '1e200', more than 1e.12 in size"),
        ("task,fsr\n4,-1e308\n", ":2: fsr is '-1e308', more than 1e.12 in size"),
        (HEAD + "4,a,,,1,3.2,0,\n", ":2: train_time_ms must be positive"),
        (HEAD + "4,a,,,1,3.2,1,\n4,a,,,2,nan,1,\n", ":3: val_loss is 'nan', not a finite number"),
        (HEAD + "4,a,,,1,-3.2,1,\n", ":2: val_loss is '-3.2', and cannot be negative"),
        ("task,fsr\n4,0.5\n5,NaN\n", ":3: fsr is 'NaN', not a finite number"),
        ("task,fsr\n4,1e999\n", ":2: fsr is '1e999', not a finite number"),
        (HEAD + "4,a\n", "cells"),
        (HEAD + "4,a,,,1,3.2,1,,,\n", "cells"),
        (HEAD + "4,a,,,1,3.2,1,\n4,a,,,1,3.3,2,\n", "duplicate of the run in"),
        (HEAD + '4,"a\n', ":"),
        ("task,fsr,surprise\n4,1,1\n", "surprise"),
        ('"task"x,fsr\n4,1\n', ":1: "),
        ("task," + "x" * 200_000 + "\n", "field larger"),
        ("task,fsr,fsr\n4,1,0\n", "'fsr', 'fsr'"),
    ],
)
def test_a_table_of_another_form_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SchemaError, match=said.replace("(", r"\(")):
        read_table(table(tmp_path, text))


@pytest.fixture(scope="module")
def make() -> ModuleType:
    """The script that writes the sample bundles."""
    path = Path(__file__).parents[2] / "assets" / "bundles" / "make.py"
    return load_file("sample_bundles_for_scores", path)


@pytest.fixture
def served(make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, VerifiedBundle]:
    """Bundles by name, of record 4 and on one machine, as `open_bundle` would return them."""
    make.write_run(tmp_path)
    sample: Predicate = make.predicate(tmp_path)
    full = dataclasses.replace(
        sample,
        task=dataclasses.replace(sample.task, id="4", target="5", profile=Profile.FULL),
        score=dataclasses.replace(sample.score, verdict=Verdict.REACHED),
    )
    digest = sha256_bytes(b"x")

    def bundle(
        name: str, predicate: Predicate, submission: str, time_ms: int, trusted: bool = True,
        loss: float = 3.279,
    ) -> VerifiedBundle:  # fmt: skip
        claims = dataclasses.replace(predicate.claims, final_val_loss=loss, train_time_ms=time_ms)
        named = dataclasses.replace(predicate.run, id=name)
        said = dataclasses.replace(predicate, claims=claims, run=named)
        subjects = Subjects(submission, digest, digest)  # type: ignore[arg-type]
        return VerifiedBundle(Path(name), Statement(said, subjects), {}, digest, trusted, ())

    own = own_digest(load(ROOT / "records", 4))
    refused = dataclasses.replace(full, score=dataclasses.replace(full.score, verdict=Verdict.REFUSED))
    missed, failed = (
        dataclasses.replace(full, score=dataclasses.replace(full.score, verdict=v))
        for v in (Verdict.MISSED, Verdict.FAILED)
    )
    check = AuditCheck("baseline.excess", Severity.WARNING, Outcome.FAILED, "", (("excess_s", 12.5),))
    hiding = dataclasses.replace(full, audit=Audit((check,), 2))
    run = dataclasses.replace(full.run, compile_cache=CompileCache.WARM, compile_cache_sha256=digest)
    warm = dataclasses.replace(full, run=run)
    found = {
        "hiding": bundle("hiding", hiding, digest, 1_000_000),
        "candidate": bundle("candidate", full, digest, 1_100_000),
        "refused": bundle("refused", refused, digest, 1_000_000, trusted=False),
        "own": bundle("own", full, own, 1_300_000),
        "missed": bundle("missed", missed, digest, 1_000_000, loss=3.29),
        "own, missed": bundle("own, missed", missed, own, 1_290_000, loss=3.2813),
        "own, timeless": bundle("own, timeless", full, own, 0),
        "own, crashed": bundle("own, crashed", failed, own, 0, loss=10.8258),
        "smoke": bundle("smoke", sample, digest, 1),
        "warm": bundle("warm", warm, digest, 1_000_000),
    }
    monkeypatch.setattr(rows_module, "open_bundle", lambda path, trusted: found[str(path)])
    return found


def read(*names: str) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    return read_bundles([Path(n) for n in names], Trusted(()), ROOT / "records")


def test_a_bundle_of_a_records_own_script_is_an_arm_of_both_its_tasks(
    served: dict[str, VerifiedBundle],
) -> None:
    rows, _ = read("own")
    assert [(r.task, r.role, r.time_ms) for r in rows] == [
        (4, Role.START, 1_300_000),
        (3, Role.TARGET, 1_300_000),
    ]


def test_time_outside_the_scripts_clock_beyond_the_start_scripts_is_added(
    served: dict[str, VerifiedBundle],
) -> None:
    rows, _ = read("hiding", "candidate")
    assert [r.time_ms for r in rows] == [1_012_500, 1_100_000]


def test_a_bundle_scores_only_if_its_verdict_is_reached(served: dict[str, VerifiedBundle]) -> None:
    rows, notes = read("candidate", "refused", "own")
    found = score(rows, TASKS, partial=True, **FEW)[0].tasks[0]
    assert (found.task, len(found.runs), found.reached) == (4, 2, 1)
    assert found.kinds == (BaselineKind.SCALED,)
    hidden = "untimed overhead not measured; to measure it, run: speedrun eval --audit baseline"
    assert [n for n in notes if hidden not in n] == [
        "candidate: tier screened: the check canary.to_end was skipped",
        "refused: tier self-reported: the signer's key is not trusted",
    ]
    assert [n.split(":")[0] for n in notes if hidden in n] == ["candidate", "refused"]


def test_a_records_own_script_that_did_not_end_is_no_baseline(served: dict[str, VerifiedBundle]) -> None:
    rows, _ = read("candidate", "own", "own, missed", "own, crashed")
    assert [r.time_ms for r in rows if r.role is Role.START] == [1_300_000, 1_290_000, None]
    (run,) = score(rows, TASKS, partial=True, **FEW)[0].tasks[0].runs
    assert run.baseline is not None
    assert run.baseline.start_runs == (1_300_000, 1_290_000)


def test_a_signed_time_of_0_is_no_time(served: dict[str, VerifiedBundle]) -> None:
    rows, _ = read("candidate", "own, timeless")
    assert score(rows, TASKS, partial=True, **FEW)[0].tasks[0].kinds == (BaselineKind.RETIMED,)


def test_a_run_that_missed_the_target_scores_0_and_its_loss_counts(served: dict[str, VerifiedBundle]) -> None:
    rows, _ = read("candidate", "missed")
    found = score(rows, TASKS, partial=True, **FEW)[0].tasks[0]
    assert (found.reached, [r.fsr for r in found.runs][1]) == (1, 0.0)
    assert found.loss is not None
    assert (found.loss.runs, found.loss.mean) == (2, pytest.approx(3.2845))


def test_a_reader_is_told_whose_hidden_time_was_measured(served: dict[str, VerifiedBundle]) -> None:
    assert not any("untimed overhead" in note for note in read("hiding")[1])


def test_a_smoke_bundle_and_the_same_bundle_twice_are_refused(served: dict[str, VerifiedBundle]) -> None:
    with pytest.raises(UsageError, match="is a smoke run, which has no score") as refused:
        read("smoke")
    assert refused.value.hint == "score runs that were made with --profile full"
    with pytest.raises(KitError, match="duplicate of the run in"):
        read("own", "own")


def test_smoke_bundles_among_others_are_left_out_with_a_note(served: dict[str, VerifiedBundle]) -> None:
    rows, notes = read("smoke", "candidate")
    assert rows == read("candidate")[0]
    assert notes[-1] == "left out 1 smoke run: smoke runs have no score"
    with pytest.raises(UsageError, match="all 2 runs are smoke runs"):
        read("smoke", "smoke")


def test_a_run_with_a_warm_compile_cache_has_no_score(served: dict[str, VerifiedBundle]) -> None:
    with pytest.raises(UsageError, match="is a warm run, which has no score") as refused:
        read("warm")
    assert refused.value.hint == "score runs that were made with --compile-cache cold"
    rows, notes = read("warm", "smoke", "candidate")
    assert rows == read("candidate")[0]
    assert notes[-2:] == (
        "left out 1 warm run: warm runs have no score",
        "left out 1 smoke run: smoke runs have no score",
    )
    with pytest.raises(UsageError, match="all 2 runs are warm runs or smoke runs"):
        read("warm", "smoke")


class TestCommand:
    TEXT = HEAD + (
        "4,a,,m,1,3.279,1000000,\n4,a,,m,2,3.278,1010000,\n4,,start,m,1,,1300000,\n4,,start,m,2,,1310000,\n"
        "4,,target,m,1,,950000,\n4,,target,m,2,,940000,\n15,a,,m,1,,,\n"
    )

    def test_text_names_baselines_and_absent_tasks(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["score", "--table", str(table(tmp_path, self.TEXT)), "--repetitions", "200"]) == 0
        told = capsys.readouterr().out
        assert "same-machine" in told
        assert "counted as 0: 1, 2, 3, 5, 7" in told
        assert "optimality gap" in told

    def test_json_is_strict_and_repeats_with_its_seed(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        argv = [
            "score",
            "--table",
            str(table(tmp_path, self.TEXT)),
            "--json",
            "--repetitions",
            "300",
            "--seed",
            "5",
        ]
        texts = []
        for _ in range(2):
            assert run(argv) == 0
            texts.append(capsys.readouterr().out)
        assert texts[0] == texts[1]
        document = json.loads(texts[0], parse_constant=pytest.fail)
        assert document["configs"][0]["tasks"][0]["runs"][0]["baseline"]["kind"] == "same-machine"

    def test_paper_rules_warn_that_they_do_not_compare(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        argv = ["score", "--table", str(table(tmp_path, self.TEXT)), "--paper-rules", "--repetitions", "200"]
        assert run(argv) == 0
        assert "not comparable" in capsys.readouterr().err

    def test_power_prints_the_table(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["score", "--power"]) == 0
        told = capsys.readouterr().out
        assert "   3   0.10" in told
        assert "11 runs" in told

    @pytest.mark.parametrize("argv", [[], ["run", "--table", "x.csv"]])
    def test_bundles_or_a_table_are_needed_and_not_both(self, argv: list[str]) -> None:
        assert run(["score", *argv]) == 2

    def test_a_table_among_the_bundles_is_told_where_it_belongs(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = table(tmp_path, self.TEXT)
        assert run(["score", str(path)]) == 2
        assert f"hint: speedrun score --table {path}\n" in capsys.readouterr().err

    def test_without_the_extra_the_fix_is_named(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in [
            n for n in sys.modules if n.split(".")[0] == "scipy" or n.startswith("kit.score.metrics")
        ]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "scipy", None)
        assert run(["score", "--power"]) == 3
        assert "-m pip install -e '.[score]'\n" in capsys.readouterr().err


def test_the_document_prints_the_power_table_that_the_kit_computes() -> None:
    from kit.score.metrics import power

    text = (Path(__file__).parents[3] / "docs" / "concepts" / "scores.md").read_text()
    runs, powers = (
        [c.strip() for c in line.split("|")[2:-1]]
        for line in text.splitlines()
        if line.startswith(("| runs", "| power"))
    )
    assert powers == [f"{power(int(n), 0.0017, 0.002):.2f}" for n in runs]
