"""What `benchmarks/gpu/session.py` submits on a GPU: the reference trainer with its stages printed."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from kit.audit import source
from kit.audit.finding import Outcome, Severity
from kit.audit.source import SourceFile
from kit.benchmark.submission import load_submission
from kit.core.facts import facts_root
from kit.evaluate.start_script import REFERENCE

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "gpu"))


def test_the_trainer_has_a_line_at_each_stage() -> None:
    from stages import MARK, staged_trainer

    text = staged_trainer(0)
    calls = [
        node.args[0].value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "stage"
        if isinstance(node.args[0], ast.Constant)
    ]
    assert sorted(calls) == [
        "device set",
        "first backward",
        "first forward of the training",
        "first forward of the validation",
        "first optimizer step",
        "gradient of the first step",
        "gradients summed over the ranks",
        "model on the device",
        "process group up",
        "script begun",
        "shards opened",
        "torch imported",
    ]
    assert MARK in text and "UNTIMED_STEPS = 0\n" in text


def test_an_edit_that_no_longer_fits_the_trainer_is_an_error() -> None:
    from stages import Edit, edited

    with pytest.raises(ValueError, match="0 times, not 1"):
        edited(REFERENCE.read_text(), (Edit("no such line", ""),))


@pytest.mark.parametrize(
    ("task", "entry", "arguments"),
    [
        ("62", "train_gpt.py", "--batch-tokens 393216 --val-every 250 --steps 60"),
        ("46", "train_gpt.py", "--steps 60"),
        ("smoke-3", "train_gpt2.py", "--val-every 24 --steps 60"),
    ],
)
def test_the_submission_has_the_entry_and_the_steps_of_its_task(
    tmp_path: Path, task: str, entry: str, arguments: str
) -> None:
    from stages import staged_submission

    made = load_submission(staged_submission(tmp_path / "s", task, 60))
    assert made.entry == entry and " ".join(made.args).endswith(arguments)


def test_the_audits_of_the_source_do_not_refuse_it(tmp_path: Path) -> None:
    from stages import staged_trainer

    start = (facts_root() / "records" / "smoke" / "3" / "train_gpt2.py").read_bytes()
    ours = staged_trainer(10).encode()

    def fatal(text: bytes) -> list[str]:
        judged = source.judge((SourceFile("train_gpt2.py", text),), (SourceFile("train_gpt2.py", start),))
        return [f.id for f in judged if f.outcome is Outcome.FAILED and f.severity is Severity.FATAL]

    assert fatal(ours) == []
    assert fatal(REFERENCE.read_bytes()) != []  # so the edits are needed


def test_the_stages_are_read_with_the_times_of_the_host(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from stages import show_stages

    text = "stage: script begun\nno stage\nstep:0/6 val_loss:10.8 train_time:0ms\nstep:1/6 train_time:9ms\n"
    lines = text.splitlines(keepends=True)
    (tmp_path / "guest.log").write_text(text)
    stamps = [json.dumps([(n + 1) * 10**9, "stdout", len(line), True]) for n, line in enumerate(lines)]
    (tmp_path / "stamps").write_text("\n".join(stamps) + "\n")
    show_stages({"try 1": tmp_path})
    rows = capsys.readouterr().out.splitlines()[2:]
    assert rows == [
        "| script begun | 1.00 (+1.00) |",
        "| validation of step 0 | 3.00 (+2.00) |",
        "| line of step 1 | 4.00 (+1.00) |",
    ]
