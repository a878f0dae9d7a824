"""Every hint is there in one form; each rule of the style refuses its own fault; nothing later leaks."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from kit.benchmark import records
from kit.benchmark.hints import (
    LEVELS,
    TASKS,
    Hint,
    HintLevel,
    Marker,
    hint_form,
    known_hints,
    load_hint,
    load_markers,
    target_number,
    target_of,
    title_of,
)
from kit.benchmark.hints.lint import SPELLINGS, SYMBOLS, HintRule, TaskScripts, lint, mentions
from kit.benchmark.tasks import TaskSet, load_tasks
from kit.benchmark.tasks.task import hints_of
from kit.cli import run
from kit.core.errors import PrerequisiteError, SchemaError, UsageError
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.values.task_id import LATER_SET, PAPER_SET, listed_as, set_of

ROOT = facts_root()
MIRROR = os.environ.get("KIT_UPSTREAM_MIRROR", "")
LATER_TASKS = tuple(map(int, known_hints(ROOT, LATER_SET)))
ALL_TASKS = (*TASKS, *LATER_TASKS)
EVERY_HINT = [pytest.param(task, level, id=f"{task:02d}-{level:d}") for task in ALL_TASKS for level in LEVELS]
PSEUDOCODE, DESCRIPTION, PAPER = LEVELS

START = "def step(model):\n    clip(model.parameters(), 1.0)\n    return get_lr(model)\n"
ADDED = "for p in model.parameters(): p.grad = p.grad / (p.grad.norm() + a_small_positive_number(p))"
TARGET = START.replace("clip(model.parameters(), 1.0)", ADDED)
SCRIPTS = TaskScripts(START, TARGET)


def style_page() -> str:
    return (Path(__file__).parents[3] / "docs" / "reference" / "hint-style.md").read_text()


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    store = Store(tmp_path_factory.mktemp("store"))
    texts = {}
    for number in (*range(1, 22), *range(46, 90)):
        record = records.load(ROOT / "records", number)
        fetchers = records.sources(Path(MIRROR))
        folder = records.fetch_script(record, store, fetchers)
        texts[number] = "\n".join((folder / file.name).read_text() for file in record.script.files)
    return texts


def markers_of(task: int) -> tuple[Marker, ...]:
    return load_markers(ROOT, set_of(str(task)))


@pytest.fixture(scope="module")
def scripts(texts: dict[int, str]) -> dict[int, TaskScripts]:
    return {task: TaskScripts(texts[task], texts[task + 1]) for task in ALL_TASKS}


@pytest.mark.parametrize(("task", "level"), EVERY_HINT)
def test_every_hint_is_present_and_keeps_the_style(task: int, level: HintLevel) -> None:
    assert lint(load_hint(ROOT, task, level), markers_of(task)) == ()


@pytest.mark.parametrize("task", ALL_TASKS)
def test_the_three_levels_of_a_task_share_one_title(task: int) -> None:
    assert len({title_of(load_hint(ROOT, task, level)) for level in LEVELS}) == 1


REVIEW = re.compile(
    r"# Review of task (?P<task>\d\d|smoke-\d)\n"
    r"\n## Checked\n\n(?P<checked>.+?)\n"
    r"\n## Changed\n\n(?P<changed>.+?)\n"
    r"\n## Left open\n\n(?P<open>.+?)\n",
    re.DOTALL,
)
BULLETS = re.compile(r"(?:- \S[^\n]*\n(?:  \S[^\n]*\n)*)+")


def faults_of_review(task: str, text: str) -> list[str]:
    found = REVIEW.fullmatch(text)
    if found is None or found["task"] != task:
        return ["title and sections"]
    sections = {name: found[name] for name in ("checked", "changed", "open")}
    nothing = [name for name in ("changed", "open") if sections[name] == "Nothing."]
    wrong = [n for n in sections if n not in nothing and not BULLETS.fullmatch(sections[n] + "\n")]
    return wrong + re.findall(r"\d{4}-\d\d-\d\d|(?<!\w)@\w+", text)


@pytest.mark.parametrize("task", [*(f"{task:02d}" for task in ALL_TASKS), "smoke-1", "smoke-2", "smoke-3"])
def test_every_task_was_read_a_second_time_and_its_review_has_the_form_of_the_style_page(task: str) -> None:
    review = ROOT / "hints" / task / "review.md"
    assert faults_of_review(task, review.read_text()) == []


GOOD_REVIEW = """# Review of task 04

## Checked

- One change of the diff,
  in two lines. Levels 1, 2.

## Changed

Nothing.

## Left open

Nothing.
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("task 04", "task 05"),
        ("## Changed", "## Corrected"),
        ("## Left open\n\nNothing.\n", ""),
        ("- One change of the diff,\n  in two lines. Levels 1, 2.", "Nothing."),
        ("Nothing.\n\n## Left", "All is well.\n\n## Left"),
        ("Levels 1, 2.", "Levels 1, 2, on 2025-01-31."),
        ("Levels 1, 2.", "Levels 1, 2, says @reader."),
    ],
    ids=["other-task", "heading", "section-missing", "nothing-checked", "no-bullet", "date", "name"],
)
def test_a_review_of_another_form_is_refused(old: str, new: str) -> None:
    assert faults_of_review("04", GOOD_REVIEW) == []
    assert old in GOOD_REVIEW
    assert faults_of_review("04", GOOD_REVIEW.replace(old, new)) != []


@pytest.mark.upstream
@pytest.mark.parametrize(("task", "level"), EVERY_HINT)
def test_no_hint_copies_from_the_target_or_the_diff(
    scripts: dict[int, TaskScripts], task: int, level: HintLevel
) -> None:
    assert lint(load_hint(ROOT, task, level), markers_of(task), scripts[task]) == ()


@pytest.mark.upstream
def test_the_evidence_of_a_marker_is_first_found_in_its_record(texts: dict[int, str]) -> None:
    for marker in (*load_markers(ROOT), *load_markers(ROOT, LATER_SET)):
        for string in marker.evidence:
            first = next((n for n, text in texts.items() if string in text), None)
            assert first == marker.record, string


def test_each_target_has_markers() -> None:
    assert [m.record for m in load_markers(ROOT)] == [target_of(task) for task in TASKS]
    assert {m.record for m in load_markers(ROOT, LATER_SET)} >= {task + 1 for task in LATER_TASKS}


@pytest.mark.parametrize("task", LATER_TASKS)
def test_the_page_of_later_hints_says_what_the_second_reader_changed(task: int) -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "later-hints.md").read_text()
    table = page.partition("| what the second reader changed |")[2].partition("\n\n")[0]
    (row,) = (line for line in table.splitlines() if line.startswith(f"| {task} |"))
    changed = (ROOT / "hints" / f"{task:02d}" / "review.md").read_text().partition("## Changed\n\n")[2]
    assert row.endswith("| nothing |") is changed.startswith("Nothing.")


def test_the_target_of_a_later_task_has_the_next_number() -> None:
    for task in load_tasks(ROOT, TaskSet.ALL):
        assert target_number(listed_as(task.name)) == task.target.number == task.number + 1


@pytest.mark.parametrize("task", ALL_TASKS)
def test_the_hints_of_a_task_use_the_words_that_mark_its_target(task: int) -> None:
    words = next(m.words for m in markers_of(task) if m.record == task + 1)
    text = "\n".join(load_hint(ROOT, task, level).text for level in LEVELS)
    assert any(mentions(text, word) for word in words), words


@pytest.mark.parametrize("task_set", [PAPER_SET, LATER_SET])
def test_words_of_the_record_after_the_target_are_refused(task_set: str) -> None:
    markers = load_markers(ROOT, task_set)
    tasks = TASKS if task_set == PAPER_SET else range(46, 89)
    for marker in markers[1:]:
        task = max(task for task in tasks if target_number(task) < marker.record)
        for word in marker.words:
            leaking = Hint(task, PSEUDOCODE, f"{hint_01(PSEUDOCODE)}\nWe do without {word} here.\n")
            said = [f.message for f in lint(leaking, markers) if f.rule is HintRule.LATER]
            assert any(repr(word) in message for message in said), word


def test_the_style_page_shows_the_symbols_lengths_headings_and_rules_that_lint_uses() -> None:
    page = style_page()
    table = page.partition("| symbol | stands for |")[2].partition("\n\n")[0]
    math = " ".join(re.findall(r"\$([^$]+)\$", table))
    plain = re.sub(r"\\text\{[^}]*\}", "", math)
    shown = set(re.findall(r"\\([A-Za-z]+)", plain)) - {"cdot"}
    shown |= set(re.findall(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", " ", plain)))
    assert shown == SYMBOLS
    for level in LEVELS:
        form = hint_form(level)
        assert f"| `{form.file}` |" in page and f"| {form.shortest:,}-{form.longest:,} |" in page
        assert f"level {level:d}: {' · '.join(form.headings)}" in page
    assert all(f"[{rule}" in page or f"{rule}]" in page for rule in HintRule)
    assert all(right in page for right in SPELLINGS.values())


def hint_01(level: HintLevel) -> str:
    return load_hint(ROOT, 1, level).text


FAULTS = [
    (HintRule.TITLE, PSEUDOCODE, lambda t: t.replace("# Task 01", "# Task 02", 1)),
    (HintRule.HEADINGS, DESCRIPTION, lambda t: t.replace("## Model", "## Network", 1)),
    (HintRule.HEADINGS, PAPER, lambda t: t.partition("## Limits\n")[0] + "## Limits\n"),
    (HintRule.LENGTH, DESCRIPTION, lambda t: t + "and so on\n" * 900),
    (HintRule.LENGTH, DESCRIPTION, lambda t: re.sub(r"(?m)^[^#\n].*\n", "x\n", t)),
    (HintRule.FENCE, DESCRIPTION, lambda t: t + "\n```text\nx <- 1\n```\n"),
    (HintRule.FENCE, PSEUDOCODE, lambda t: t + "\n```text\nx <- 1\n"),
    (HintRule.EQUATION, PAPER, lambda t: t.replace("$$", "$")),
    (HintRule.SYMBOL, PAPER, lambda t: t + "\nwith $Q$\n"),
    (HintRule.SYMBOL, DESCRIPTION, lambda t: t + "\nwith $\\omega_1$\n"),
    (HintRule.NUMBER, DESCRIPTION, lambda t: t + "\ntakes 12288 steps\n"),
    (HintRule.SPELLING, PAPER, lambda t: t + "\nthe Optimizer\n"),
    (HintRule.CODE, DESCRIPTION, lambda t: t + "\nset self.scale to 1\n"),
    (HintRule.CODE, PSEUDOCODE, lambda t: t + "\n```text\nx = 1\n```\n"),
    (HintRule.LATER, DESCRIPTION, lambda t: t + "\nas in record 3\n"),
]


EQUATION = "$$\nN = 9536, \\qquad\nN - 2048 = 7488\n$$"


def test_a_long_number_is_free_inside_an_equation_of_several_lines_and_found_after_it() -> None:
    whole = f"{hint_01(PAPER)}\n{EQUATION}\n"
    assert lint(Hint(1, PAPER, whole), load_markers(ROOT)) == ()
    spoilt = f"{whole}\nand 9536 steps\n"
    (finding,) = lint(Hint(1, PAPER, spoilt), load_markers(ROOT))
    assert (finding.rule, finding.line) == (HintRule.NUMBER, len(spoilt.splitlines()))


@pytest.mark.parametrize(("rule", "level", "spoil"), FAULTS)
def test_lint_names_the_one_rule_that_a_fault_breaks(rule: HintRule, level: HintLevel, spoil) -> None:
    markers = load_markers(ROOT)
    found = lint(Hint(1, level, spoil(hint_01(level))), markers)
    assert {f.rule for f in found} == {rule}


COPIES = [
    (HintRule.OVERLAP, f"then\n{ADDED.replace(' ', chr(10), 4)} follows"),
    (HintRule.OVERLAP, re.sub(r"\W+", " - ", ADDED)),
    (HintRule.COPIED, f"   {ADDED.upper()}   # as before"),
    (HintRule.NAME, "The loop calls `normalise_gradients`."),
]


@pytest.mark.parametrize(("rule", "addition"), COPIES, ids=["wrapped", "respelt", "line", "new-name"])
def test_lint_refuses_what_the_scripts_say_or_do_not_know(rule: HintRule, addition: str) -> None:
    clean = re.sub(r"`[^`]*`", "a part", hint_01(DESCRIPTION))
    assert lint(Hint(1, DESCRIPTION, clean), (), SCRIPTS) == ()
    spoilt = Hint(1, DESCRIPTION, f"{clean}\n{addition}\n")
    assert rule in {f.rule for f in lint(spoilt, (), SCRIPTS)}


def test_a_short_phrase_in_common_with_the_script_is_no_overlap() -> None:
    clean = re.sub(r"`[^`]*`", "a part", hint_01(DESCRIPTION))
    phrase = Hint(1, DESCRIPTION, f"{clean}\nfor p in model.parameters, p.grad is divided; see `get_lr`.\n")
    assert lint(phrase, (), SCRIPTS) == ()


def test_words_are_found_across_case_hyphens_and_digit_groups_but_not_inside_longer_numbers() -> None:
    assert mentions("the NEWTON schulz rounds", "Newton-Schulz")
    assert mentions("takes 6200 steps", "6,200") and mentions("takes $6{,}200$ steps", "6,200")
    assert not mentions("takes 16,200 steps", "6,200") and not mentions("takes 62,001", "6,200")
    assert not mentions("the prefused form", "fused form")


@pytest.mark.parametrize("task", [0, 6, 21])
def test_a_task_that_does_not_exist_is_an_error(task: int) -> None:
    with pytest.raises(UsageError, match=f"task {task} does not exist"):
        load_hint(ROOT, task, PAPER)


def test_a_later_task_without_hints_is_an_error_that_lists_those_with_hints(tmp_path: Path) -> None:
    (tmp_path / "hints" / "77").mkdir(parents=True)
    with pytest.raises(UsageError, match="task 46 has no hints") as refused:
        load_hint(tmp_path, 46, PAPER)
    assert refused.value.hint == "later tasks with hints: 77"
    with pytest.raises(PrerequisiteError, match="task 77 has no hint of level 3"):
        load_hint(tmp_path, 77, PAPER)
    assert hints_of(ROOT, 46) == ()


def test_level_zero_has_no_file() -> None:
    with pytest.raises(UsageError, match="no hint"):
        load_hint(ROOT, 1, HintLevel.NONE)


def test_an_absent_level_is_an_error_and_not_an_empty_hint(tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteError, match="task 3 has no hint of level 2"):
        load_hint(tmp_path, 3, DESCRIPTION)


def test_a_hint_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hints" / "03" / hint_form(PAPER).file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"# \xff\n")
    with pytest.raises(SchemaError, match="UTF-8"):
        load_hint(tmp_path, 3, PAPER)


def test_a_marker_without_evidence_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hints").mkdir()
    (tmp_path / "hints" / "markers.toml").write_text(
        '[[record]]\nnumber = 3\nwords = ["muon"]\nevidence = []\n'
    )
    with pytest.raises(SchemaError, match="evidence"):
        load_markers(tmp_path)


def test_show_prints_the_file_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["hint", "show", "1", "--level", "2"]) == 0
    assert capsys.readouterr().out == hint_01(DESCRIPTION)


@pytest.mark.parametrize(
    "argv", [["show", "6", "--level", "1"], ["show", "1", "--level", "0"], ["show", "1"]]
)
def test_show_answers_a_wrong_question_with_exit_code_2(argv: list[str]) -> None:
    assert run(["hint", *argv]) == 2


def test_the_lint_command_says_no_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "hints", tmp_path / "hints")
    spoilt = tmp_path / "hints" / "01" / hint_form(PAPER).file
    spoilt.write_text(spoilt.read_text() + "\nthe optimizer\n")
    monkeypatch.setattr("kit.cli.hint.lint.facts_root", lambda: tmp_path)
    assert run(["hint", "lint", "2"]) == 0
    capsys.readouterr()
    assert run(["hint", "lint", "1", "2", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["hints"], said["overlap_checked"]) == (6, False)
    assert [(f["task"], f["level"], f["rule"]) for f in said["findings"]] == [(1, 3, "spelling")]


def test_the_summary_of_lint_keeps_apart_from_the_findings_when_both_streams_are_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "hints", tmp_path / "hints")
    spoilt = tmp_path / "hints" / "01" / hint_form(PAPER).file
    spoilt.write_text(spoilt.read_text() + "\nthe optimizer")
    monkeypatch.setattr("kit.cli.hint.lint.facts_root", lambda: tmp_path)
    assert run(["hint", "lint", "1"]) == 1
    said = capsys.readouterr()
    *findings, summary = f"{said.out.strip()}{said.err}".splitlines()
    assert [line.endswith("write optimiser") for line in findings if line] == [True]
    assert summary.startswith("3 hints, 1 finding")
    assert run(["hint", "lint", "2"]) == 0
    assert capsys.readouterr().err.startswith("3 hints, 0 findings")


@pytest.mark.upstream
def test_the_lint_command_reads_the_scripts_from_a_mirror(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["hint", "lint", "1", "--upstream", MIRROR, "--store", str(tmp_path), "--json"]
    assert run(argv) == 0
    assert json.loads(capsys.readouterr().out)["overlap_checked"] is True
