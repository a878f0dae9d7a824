"""`speedrun runs diff`: what differs between two runs."""

import json
from dataclasses import replace

import pytest

from kit.cli import run
from kit.result.keys import Trusted
from kit.result.predicate import AuditCheck, Outcome, Severity
from kit.result.run_difference import compare_runs
from kit.result.verify import open_bundle


@pytest.fixture
def pressed(press, tmp_path):
    """Print a run and open its bundle."""

    def one(number=0, **fields):
        folder = press.press(tmp_path / "runs", press.Sample(number, **fields))
        return open_bundle(folder, Trusted((press.MAKE.SIGNER.public,)))

    return one


@pytest.fixture
def ask(tmp_path, press, capsys):
    """Run the command and return (exit code, stdout, stderr)."""
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    (keys / "them.pem").write_bytes(press.MAKE.SIGNER.public.pem)

    def command(a, b, *arguments):
        argv = ["runs", "diff", a, b, "--out", str(tmp_path / "runs"), "--keys", str(keys), *arguments]
        code = run(argv)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return command


def fields_of(difference):
    return {(f.group, f.field): (f.a, f.b) for f in difference.fields}


def ids(number):
    return f"r03-20260101T000000Z-{number:08x}"


def test_a_run_does_not_differ_from_itself(pressed, ask):
    pressed(1)
    code, _, err = ask(ids(1), ids(1))
    assert code == 0
    assert "the same: submission, task, arguments" in err


def test_files_are_compared_by_lines(pressed):
    found = compare_runs(pressed(1, script=b"a = 1\nb = 2\n"), pressed(2, script=b"a = 1\nb = 3\n"))
    (file,) = found.files
    assert (file.name, file.change, file.note) == ("train_gpt2.py", "changed", "")
    assert file.lines[:2] == ("--- a/train_gpt2.py", "+++ b/train_gpt2.py")
    assert file.lines[-2:] == ("-b = 2", "+b = 3")
    assert "submission" not in found.same


def test_a_last_line_without_its_end_is_a_difference(pressed):
    (file,) = compare_runs(pressed(1, script=b"a"), pressed(2, script=b"a\n")).files
    assert "-a (no newline at the end of the file)" in file.lines


@pytest.mark.parametrize(
    ("script", "note"),
    [
        (b"\0binary", "not text"),
        (b"\xff\xfe", "not text"),
        (b"#\n" * 20_001, "too many lines"),
        (b"#" * (1 << 20) + b"#", "too large"),
    ],
)
def test_a_file_that_cannot_be_compared_by_lines_says_why(pressed, script, note):
    (file,) = compare_runs(pressed(1, script=b"a\n"), pressed(2, script=script)).files
    assert note in file.note and file.lines == ()


@pytest.mark.parametrize("harm", ["edited", "missing"])
def test_files_that_did_not_run_are_not_shown_as_those_that_did(pressed, ask, harm):
    pressed(1, script=b"a\n")
    bad = pressed(2, script=b"b\n").path.parent / "submission" / "train_gpt2.py"
    bad.write_bytes(b"secret\n") if harm == "edited" else bad.unlink()
    code, shown, _ = ask(ids(1), ids(2))
    assert code == 1
    assert "train_gpt2.py changed (" in shown and "other files than those that ran" in shown
    assert "secret" not in shown


def test_settings_hardware_losses_and_times_are_compared(pressed):
    plain = pressed(1)
    other = pressed(
        2,
        final_loss=3.2,
        time_ms=4000,
        gpu="NVIDIA H200",
        record=4,
        next_record=5,
        script=b"# submission 1\n",
    )
    found = fields_of(compare_runs(plain, other))
    assert found[("claims", "final_val_loss")] == (3.279, 3.2)
    assert found[("claims", "train_time_ms")] == (5000, 4000)
    assert found[("task", "id")] == ("3", "4")
    assert found[("hardware", "gpus.0.name")] == ("NVIDIA H100 80GB HBM3", "NVIDIA H200")
    assert not {("outcome", "id"), ("outcome", "nonce"), ("outcome", "started_at")} & set(found)


def test_arguments_are_compared_one_by_one(pressed):
    plain = pressed(1)
    argv = (*plain.predicate.run.argv, "--lr", "-0.1", "--lr=2", "--flag")
    other = pressed(2, extra=(("run", replace(pressed(3).predicate.run, id=ids(2), argv=argv)),))
    found = fields_of(compare_runs(plain, other))
    assert found[("arguments", "--lr")] == (None, "-0.1")
    assert found[("arguments", "--lr#2")] == (None, "2")
    assert found[("arguments", "--flag")] == (None, "")
    assert ("arguments", "argv") not in found


def test_checks_differ_by_their_outcome(pressed):
    plain = pressed(1)
    audit = plain.predicate.audit
    gone, judged, *rest = audit.checks
    failed = AuditCheck("source.own", Severity.WARNING, Outcome.FAILED, "too\tlarge", ())
    again = replace(judged, detail="in another order")
    other = pressed(2, extra=(("audit", replace(audit, checks=(again, failed, *rest))),))
    found = {f.field: (f.a, f.b) for f in compare_runs(plain, other).of_group("audit")}
    assert found.pop(gone.id) == ("passed", None)
    assert found.pop("source.own") == (None, "failed (warning): too large")
    assert judged.id not in found


def test_json_has_all_differences(pressed, ask):
    pressed(1, script=b"a\n")
    pressed(2, script=b"b\n", time_ms=4000)
    code, shown, _ = ask(ids(1), ids(2), "--json")
    document = json.loads(shown)
    assert code == 1
    assert (document["a"]["id"], document["b"]["train_time_ms"]) == (ids(1), 4000)
    assert {"field": "train_time_ms", "a": 5000, "b": 4000} in document["differences"]["claims"]
    assert document["files"][0]["diff"][-2:] == ["-a", "+b"]
    assert "task" in document["same"]


def test_text_shows_groups_and_the_diff_without_control_characters(pressed, ask):
    pressed(1, script=b"a = 1\n")
    pressed(2, script=b"\ta = '\x1b[2J'\n", time_ms=4000)
    code, shown, _ = ask(ids(1), "latest")
    assert code == 1
    assert "train_time_ms" in shown and "+       a = '" in shown
    assert "\x1b" not in shown


def test_a_run_without_a_valid_result_is_refused(pressed, ask, tmp_path):
    pressed(1)
    (tmp_path / "runs" / ids(2)).mkdir()
    assert ask(ids(1), ids(2))[0] == 3
    (tmp_path / "runs" / ids(2) / "result.json").write_text("{}")
    code, _, err = ask(ids(1), ids(2))
    assert code == 4 and "step " in err
    assert ask(ids(1), "nobody")[0] == 3
    assert ask(ids(1), "r03")[0] == 2


def test_an_untrusted_signer_is_named(pressed, ask, tmp_path):
    pressed(1)
    (tmp_path / "keys" / "them.pem").unlink()
    code, _, err = ask(ids(1), ids(1))
    assert code == 0 and f"{ids(1)} is signed by a key that you do not trust" in err
