"""A log or a commit becomes the draft of a record: what can be derived is there, the rest is to review."""

from __future__ import annotations

import subprocess
import tomllib

import pytest

from kit.benchmark.drafts.draft import draft_record
from kit.benchmark.drafts.script_facts import script_facts
from kit.cli import run
from kit.core.digest import sha256_bytes
from kit.core.errors import UsageError
from kit.core.schema import validate

RULE = "=" * 100
SCRIPT = """\
import torch
from kernels import get_kernel
from dataclasses import dataclass
assert 8 % world_size == 0
grad_accum_steps = 8 // world_size
@dataclass
class Hyperparameters:
    val_tokens: int = 10485760
    val_loss_every: int = 2
    train_bs_schedule: tuple = (8 * 2048 * 8, 16 * 2048 * 8, 24 * 2048 * 8)
    train_bs_extension: int = 24 * 2048 * 8
    train_max_seq_len: int = 128 * 16
    num_scheduled_iterations: int = 3
    num_extension_iterations: int = 1
"""
KERNELS = "import triton\n"
ENVIRONMENT = "Running Python 3.12.7 (main)\nRunning PyTorch 2.10.0+cu128 compiled for CUDA 12.8\n"
LINES = (
    "step:0/4 val_loss:10.8258 train_time:0ms step_avg:0.03ms\n"
    + "".join(f"step:{n}/4 train_time:{n * 60}ms step_avg:60.00ms\n" for n in (1, 2))
    + "step:2/4 val_loss:5.1000 train_time:130ms step_avg:65.00ms\n"
    + "".join(f"step:{n}/4 train_time:{n * 60}ms step_avg:60.00ms\n" for n in (3, 4))
    + "step:4/4 val_loss:3.2791 train_time:260ms step_avg:65.00ms\n"
)


def log_of(
    script=SCRIPT,
    environment=ENVIRONMENT,
    lines=LINES,
    more=f"\n\n{'-' * 40}\n# triton_kernels.py\n{'-' * 40}\n\n{KERNELS}",
):
    return f"{script}{more}\n{RULE}\n{environment}{RULE}\n{lines}"


@pytest.fixture
def draft(tmp_path, capsys):
    """Draft from a log; return the exit code, the text and the error."""

    def make(text, *more):
        path = tmp_path / "run.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        code = run(["record", "draft", str(path), "--id", "90", *more])
        told = capsys.readouterr()
        return code, told.out, told.err

    return make


def test_a_draft_states_what_the_log_and_its_script_say(draft):
    code, text, _ = draft(log_of())
    d = tomllib.loads(text)
    assert code == 0 and d["id"] == "90"
    assert d["script"]["files"] == [
        {"name": "train_gpt.py", "sha256": sha256_bytes(SCRIPT.encode())},
        {"name": "triton_kernels.py", "sha256": sha256_bytes(KERNELS.encode())},
    ]
    assert d["log"] == {
        "commit": "", "path": "", "size": len(log_of()), "sha256": sha256_bytes(log_of().encode()),
        "grammar": "step", "final_step": 4, "final_val_loss": 3.2791, "train_time_ms": 260,
    }  # fmt: skip
    assert d["environment"] == {
        "era": "torch-2.10.0", "torch": "2.10.0+cu128", "python": "3.12.7",
        "fidelity": {
            "torch": "exact", "python": "nearest", "triton": "unknown", "flash-attention": "nearest",
        },
    }  # fmt: skip
    assert d["run"] == {"grammar": "step", "steps": 4, "untimed_steps": 0, "world_size": "accumulates"}
    assert d["evidence"] == {
        "training_every": 1, "validation_every": 2, "validates_start": True, "guest_clock": True,
    }  # fmt: skip
    assert d["data"] == {"tokens_per_step": 393_216, "train_shards": 2, "val_tokens": 10_485_760}
    assert d["deadlines"]["start_s"] == 900


def test_what_cannot_be_derived_is_marked_and_refused_by_the_schema(draft):
    _, text, _ = draft(log_of())
    marked = [line for line in text.splitlines() if "# review:" in line]
    for key in ("date", "title", "contributors", "official_s", "commit", "path", "untimed_steps", "folders"):
        assert [line for line in marked if line.startswith(f"{key} =")], key
    d = tomllib.loads(text)
    with pytest.raises(Exception, match="90"):
        validate("record.v2", d, "draft 90")
    d |= {"date": "2026-09-01", "title": "A draft that a person completed", "time": {"official_s": 73.0}}
    d["log"] |= {"commit": "0" * 40, "path": "records/a.txt"}
    validate("record.v2", d, "draft 90")


def test_out_writes_a_new_file_and_no_old_one(draft, tmp_path):
    out = tmp_path / "90.toml"
    assert draft(log_of(), "--out", str(out))[0] == 0 and 'id = "90"' in out.read_text()
    code, _, err = draft(log_of(), "--out", str(out))
    assert code == 2 and "already exists" in err


HOSTILE = {
    "no claims": (log_of(lines="hello\n"), "no line with a validation loss"),
    "cut short": (log_of(lines=LINES[: LINES.index("step:4/4")]), "the log ends at step 3 of 4"),
    "two runs": (log_of(lines=LINES + LINES), "steps do not ascend"),
    "other totals": (log_of(lines=LINES.replace("step:1/4", "step:1/9")), "different numbers of steps"),
    "no number": (log_of(lines=LINES.replace("3.2791", "nan")), "last validation loss is nan"),
    "no script": (LINES, "does not begin with its script"),
    "no Python": (log_of(script="def f(:\n"), "cannot parse train_gpt.py line 1"),
    "deep Python": (log_of(script="x = " + "(" * 5000), "cannot parse train_gpt.py"),
    "a huge script": (log_of(script="x = 1\n" * 400_000), "train_gpt.py has 2400000 bytes"),
    "a file twice": (
        log_of(more=f"\n\n{'-' * 40}\n# a.py\n{'-' * 40}\n\nx = 1\n" * 2),
        "holds a file twice: train_gpt.py, a.py, a.py",
    ),
    "a version that is TOML": (
        log_of(environment='Running Python 3.1"]#\nRunning PyTorch 2.10.0\n'), "invalid version in the log"
    ),
    "not text": (b"\x00\xff" * 1000, "no line with a validation loss"),
    "compressed": (b"\xfd7zXZ\x00" + b"\0" * 50, "is compressed"),
}  # fmt: skip


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_log_that_is_no_record_is_refused_by_name(draft, fault):
    text, said = HOSTILE[fault]
    code, out, err = draft(text)
    assert code != 0 and out == "" and err.startswith("error: ") and said in err


def test_nothing_of_a_log_or_script_steers_the_terminal(draft):
    odd = "\x1b]0;owned\x07\u202e"
    script = SCRIPT + f"# {odd}\nx = '\\s{odd}'\n"
    code, out, err = draft(log_of(script=script, environment=f"{ENVIRONMENT}{odd}\n", lines=LINES + odd))
    assert code == 0 and not {"\x1b", "\x07", "\u202e"} & {*out, *err} and "SyntaxWarning" not in err
    code, out, err = draft(log_of(script=f"x = {odd}\n"))
    assert code == 2 and not {"\x1b", "\x07", "\u202e"} & {*out, *err}


@pytest.fixture
def mirror(tmp_path):
    """A repository with one commit: script, kernels, table and two logs of the script."""
    root = tmp_path / "upstream"
    folder = root / "records" / "new"
    folder.mkdir(parents=True)
    (root / "train_gpt.py").write_text(SCRIPT)
    (root / "triton_kernels.py").write_text(KERNELS)
    table = "90 | 1.2 minutes | [Faster](https://x.test)| 09/01/26 | [log](records/new/a.txt) | "
    table += "[@one](https://y.test), @two, @\u202ethree |"
    (root / "README.md").write_text(
        f"# t\n\n## World record history\n\n{table}\n\n## Rules\n90 | 9 minutes | no\n"
    )
    gpus = "".join(f"|   {n}  NVIDIA H100 80GB HBM3          On  |\n" for n in range(8))
    for name, time in (("a", 260), ("b", 264)):
        text = log_of(environment=ENVIRONMENT + gpus, lines=LINES.replace("260ms", f"{time}ms"))
        (folder / f"{name}.txt").write_text(text)
    git = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@t.test"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "x"], check=True)
    return root


def test_a_commit_gives_files_table_and_statistics(mirror, capsys):
    assert (
        run(
            [
                "record",
                "draft",
                "HEAD",
                "--id",
                "90",
                "--log",
                "HEAD:records/new/a.txt",
                "--upstream",
                str(mirror),
            ]
        )
        == 0
    )
    d = tomllib.loads(capsys.readouterr().out)
    assert (d["date"], d["time"]["official_s"], d["contributors"]) == ("2026-09-01", 72.0, ["@one", "@two"])
    assert d["title"] == "Faster"
    assert d["time"]["same_node"] == {
        "runs": 2, "mean_ms": 262.0, "sd_ms": 2.8, "mean_val_loss": 3.2791, "sd_val_loss": 0.0,
    }  # fmt: skip
    assert d["script"]["source"] == "file"
    assert [f["origin"]["path"] for f in d["script"]["files"]] == ["train_gpt.py", "triton_kernels.py"]
    assert (
        d["log"]["path"] == "records/new/a.txt"
        and d["log"]["commit"] == d["script"]["files"][0]["origin"]["commit"]
    )
    validate("record.v2", d, "draft 90")


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["HEAD"], "no repository was named", 2),
        (["abc1234", "--upstream", "."], "commit abc1234 not found", 3),
        (["HEAD:missing.txt", "--upstream", "."], "missing.txt not found in commit", 3),
        (["nothing.txt"], "log not found: nothing.txt", 3),
        (["."], "log not found: .", 3),
        (["HEAD", "--upstream", ".", "--out", "missing/90.toml"], "cannot write missing/90.toml", 3),
        (["HEAD", "--upstream", ".", "--out", "README.md"], "README.md already exists", 2),
    ],
)
def test_a_source_that_is_not_there_is_named(mirror, capsys, monkeypatch, words, said, code):
    monkeypatch.chdir(mirror)
    assert run(["record", "draft", *words, "--id", "90"]) == code
    assert said in capsys.readouterr().err


def test_a_draft_of_nothing_names_the_option_of_a_clone():
    with pytest.raises(UsageError) as caught:
        draft_record("90", None, None, None, ())
    assert "--upstream and a commit" in caught.value.hint


def test_numbers_of_a_script_are_bounded():
    huge = SCRIPT.replace(
        "num_extension_iterations: int = 1", "num_extension_iterations: int = 10**9 * 10**9 * 10**9"
    )
    assert script_facts((("train_gpt.py", huge.encode()),)).steps is None
