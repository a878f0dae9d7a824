"""Scripts are taken from exactly the promised bytes, edited as written down, and laid out whole."""

from __future__ import annotations

import dataclasses
import io
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_server import SilentHandler, serving_http

from kit.benchmark.records import (
    Record,
    ScriptFile,
    ScriptSource,
    Sources,
    UpstreamFile,
    fetch_script,
    load,
    nowhere,
    script_files,
    sources,
)
from kit.benchmark.records.record import Edit, LineEdit
from kit.benchmark.records.script import apply_edit
from kit.benchmark.records.upstream import CloneFile, HttpsFile
from kit.benchmark.submission import load_submission
from kit.core.digest import sha256_bytes
from kit.core.download import ATTEMPTS
from kit.core.errors import DigestMismatch, IntegrityError, NetworkError, PrerequisiteError
from kit.core.facts import facts_root
from kit.core.store import Artifact, Fetcher, Store, no_progress
from kit.values import logfile

SCRIPT = b"import sys\n# print('a')\nif True:\n    #     print('b')\n    # pass\n    x = 1\n"
LOG = SCRIPT + b"=" * 100 + b"\nRunning PyTorch 2.4.1 compiled for CUDA 12.1\n" + b"=" * 100 + b"\ns\n"
PATH = "logs/a.txt"
UNCOMMENT = Edit("train_gpt2.py", LineEdit.UNCOMMENT, (4,), "stdout is the only channel")


def git(folder: Path, *argv: str) -> str:
    identity = ("-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "core.hooksPath=/dev/null")
    done = subprocess.run(
        ["git", *identity, "-C", str(folder), *argv], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("upstream")
    git(folder, "init", "-q")
    (folder / "logs").mkdir()
    (folder / PATH).write_bytes(LOG)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "a log")
    return folder, git(folder, "rev-parse", "HEAD")


def only(fetcher: Fetcher) -> Sources:
    """Look for every file at one place."""
    return lambda file: [fetcher]


def record_of(commit: str, edits: tuple[Edit, ...] = (UNCOMMENT,), final: bytes | None = None) -> Record:
    origin = UpstreamFile(commit, PATH, len(LOG), sha256_bytes(LOG))
    text = SCRIPT
    for edit in edits:
        text = apply_edit(text, edit)
    files = (ScriptFile("train_gpt2.py", sha256_bytes(final if final is not None else text)),)
    real = load(facts_root() / "records", 4)
    script = dataclasses.replace(
        real.script,
        source=ScriptSource.LOG,
        origins=(origin,),
        files=files,
        edits=edits,
        args=("--lr", "0.1"),
    )
    return dataclasses.replace(real, script=script)


def test_a_script_from_a_mirror_is_a_submission(upstream: tuple[Path, str], tmp_path: Path) -> None:
    folder, commit = upstream
    record, store = record_of(commit), Store(tmp_path / "store")
    found = fetch_script(record, store, sources(folder))
    submission = load_submission(found)
    assert submission.args == ("--lr", "0.1")
    assert b"        print('b')" not in SCRIPT
    assert b"\n        print('b')\n" in submission.files[1].data
    assert fetch_script(record, store, nowhere) == found, "a second time needs no source"


def test_a_changed_file_in_the_store_is_laid_out_anew(upstream: tuple[Path, str], tmp_path: Path) -> None:
    folder, commit = upstream
    record, store = record_of(commit), Store(tmp_path / "store")
    found = fetch_script(record, store, sources(folder))
    (found / "train_gpt2.py").chmod(0o644)
    (found / "train_gpt2.py").write_text("print('val loss 1.0')\n")
    (found / "extra.py").write_text("")
    assert load_submission(fetch_script(record, store, nowhere)).digest == load_submission(found).digest
    assert sorted(p.name for p in found.iterdir()) == ["run.toml", "train_gpt2.py"]


def test_a_mirror_without_the_file_or_without_git_is_named(
    upstream: tuple[Path, str], tmp_path: Path
) -> None:
    folder, commit = upstream
    for place, path in ((folder, "logs/other.txt"), (tmp_path, PATH)):
        with pytest.raises(PrerequisiteError, match="not found in clone"):
            fetch_script(record_of(commit), Store(tmp_path / "store"), only(CloneFile(place, commit, path)))


def test_a_mirror_that_says_where_to_fetch_what_it_lacks_runs_nothing(
    upstream: tuple[Path, str], tmp_path: Path
) -> None:
    mirror, witness = tmp_path / "mirror", tmp_path / "witness"
    git(tmp_path, "init", "-q", str(mirror))
    for name, value in (
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", str(upstream[0])),
        ("remote.origin.uploadpack", f"touch {witness}; git-upload-pack"),
    ):
        git(mirror, "config", name, value)
    with pytest.raises(PrerequisiteError, match="not found in clone"):
        fetch_script(
            record_of(upstream[1]), Store(tmp_path / "store"), only(CloneFile(mirror, upstream[1], PATH))
        )
    assert not witness.exists()


def test_a_file_of_a_mirror_that_is_larger_than_stated_is_not_read_to_its_end(
    upstream: tuple[Path, str],
) -> None:
    folder, _ = upstream
    sink = io.BytesIO()
    (folder / PATH).write_bytes(bytes(8 << 20))  # more than a pipe holds: git is still writing
    git(folder, "commit", "-qam", "larger")
    CloneFile(folder, "HEAD", PATH).fetch(Artifact(PATH, 100, sha256_bytes(b"")), sink, 0, no_progress)
    assert len(sink.getvalue()) == 101, "enough to be refused by its size"


def test_bytes_with_another_digest_are_refused(upstream: tuple[Path, str], tmp_path: Path) -> None:
    folder, commit = upstream
    record = record_of(commit)
    origin = dataclasses.replace(record.script.origins[0], sha256=sha256_bytes(b"else"))
    other = dataclasses.replace(record, script=dataclasses.replace(record.script, origins=(origin,)))
    with pytest.raises(DigestMismatch):
        fetch_script(other, Store(tmp_path / "a"), sources(folder))
    with pytest.raises(DigestMismatch, match=r"train_gpt2\.py of logs"):
        fetch_script(record_of(commit, final=b"else"), Store(tmp_path / "b"), sources(folder))


def test_another_set_of_files_in_the_log_is_refused() -> None:
    script = record_of("0" * 40).script
    kernels = b"-" * 40 + b"\n# triton_kernels.py\n" + b"-" * 40 + b"\nimport triton\n"
    with pytest.raises(IntegrityError, match=r"train_gpt2\.py, triton_kernels\.py"):
        script_files(script, [SCRIPT + kernels + LOG[len(SCRIPT) :]])


@pytest.mark.parametrize(
    ("change", "line", "expected"),
    [
        (LineEdit.COMMENT, 6, b"    # x = 1"),
        (LineEdit.COMMENT, 1, b"# import sys"),
        (LineEdit.UNCOMMENT, 2, b"print('a')"),
        (LineEdit.UNCOMMENT, 4, b"        print('b')"),
    ],
)
def test_an_edit_changes_its_line_and_no_other(change: LineEdit, line: int, expected: bytes) -> None:
    before, after = (
        t.split(b"\n") for t in (SCRIPT, apply_edit(SCRIPT, Edit("f", change, (line,), "because")))
    )
    assert after[line - 1] == expected
    assert before[: line - 1] + before[line:] == after[: line - 1] + after[line:]


@pytest.mark.parametrize(
    ("change", "line"), [(LineEdit.UNCOMMENT, 6), (LineEdit.COMMENT, 2), (LineEdit.COMMENT, 99)]
)
def test_an_edit_that_does_not_fit_its_line_is_refused(change: LineEdit, line: int) -> None:
    with pytest.raises(IntegrityError, match=f"line {line}"):
        apply_edit(SCRIPT, Edit("f", change, (line,), "because"))


class Handler(SilentHandler):
    """Serves LOG; `faults` says what goes wrong with the next answers."""

    faults: list[str]
    ranges: list[str | None]

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.ranges.append(asked)
        fault = self.faults.pop(0) if self.faults else ""
        if fault in ("404", "503"):
            self.send_error(int(fault))
            return
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and fault != "no range" else 0
        body = LOG[begin:] if fault != "flip" else b"#" + LOG[1:]
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)


@pytest.fixture
def server() -> Iterator[tuple[str, type[Handler]]]:
    handler = type("Fresh", (Handler,), {"faults": [], "ranges": []})
    with serving_http(handler) as url:
        yield url, handler


COMMIT = "c" * 40


def test_a_cut_transfer_is_resumed_where_it_broke(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    base, handler = server
    handler.faults[:] = ["cut"]
    fetch_script(record_of(COMMIT), Store(tmp_path), only(HttpsFile(COMMIT, PATH, base)))
    assert handler.ranges == [None, f"bytes={len(LOG) // 2}-"]


def test_a_transfer_that_breaks_for_good_is_resumed_by_the_next_command(
    server: tuple[str, type[Handler]], tmp_path: Path
) -> None:
    base, handler = server
    handler.faults[:] = ["cut", *ATTEMPTS * ["503"]]
    record, store, source = record_of(COMMIT), Store(tmp_path), HttpsFile(COMMIT, PATH, base)
    with pytest.raises(NetworkError, match=f"{len(LOG) // 2} of {len(LOG)} bytes"):
        fetch_script(record, store, only(source))
    fetch_script(record, store, only(source))
    assert handler.ranges == [None] + (ATTEMPTS + 1) * [f"bytes={len(LOG) // 2}-"]


def test_a_server_without_ranges_sends_all_again(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    base, handler = server
    handler.faults[:] = ["cut", "no range"]
    fetch_script(record_of(COMMIT), Store(tmp_path), only(HttpsFile(COMMIT, PATH, base)))
    assert handler.faults == []


@pytest.mark.parametrize(
    ("fault", "error"), [("404", PrerequisiteError), ("503", NetworkError), ("flip", DigestMismatch)]
)
def test_each_failure_of_the_server_has_its_own_error(
    server: tuple[str, type[Handler]], tmp_path: Path, fault: str, error: type[Exception]
) -> None:
    base, handler = server
    handler.faults[:] = ATTEMPTS * [fault] if fault == "503" else [fault]
    with pytest.raises(error):
        fetch_script(record_of(COMMIT), Store(tmp_path), only(HttpsFile(COMMIT, PATH, base)))
    fetch_script(record_of(COMMIT), Store(tmp_path), only(HttpsFile(COMMIT, PATH, base)))


def test_no_network_is_a_network_error_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(NetworkError) as refusal:
        fetch_script(record_of(COMMIT), Store(tmp_path), only(HttpsFile(COMMIT, PATH, "http://127.0.0.1:9")))
    assert refusal.value.hint.endswith("a clone of upstream: speedrun record fetch 4 --upstream CLONE")
    with pytest.raises(PrerequisiteError) as refusal:
        fetch_script(record_of(COMMIT), Store(tmp_path), nowhere)
    assert refusal.value.hint.startswith("with a network: speedrun record fetch 4; or from a clone")


@pytest.mark.parametrize(
    ("git", "said", "hint"),
    [
        (None, "git is not installed", "install git, or omit --upstream"),
        (b"no program", "cannot start git: Exec format error", "reinstall git, or omit --upstream"),
    ],
)
def test_a_git_that_is_absent_or_broken_is_named(tmp_path, monkeypatch, git, said, hint):
    if git is not None:
        (tmp_path / "git").write_bytes(git)
        (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrerequisiteError, match=said) as e:
        CloneFile(tmp_path, "0" * 40, PATH).fetch(None, None, 0, None)
    assert e.value.hint == hint


def test_files_in_a_log_lose_the_line_ends_that_joining_them_added() -> None:
    mark = "-" * 40
    files = ["main\n", "kernels\n\n", "more\n"]
    text = files[0] + "".join(
        f"\n\n{mark}\n# {n}.py\n{mark}\n\n{f}" for n, f in zip("ab", files[1:], strict=True)
    )
    log = f"{text}\n{'=' * 100}\nRunning Python 3.11.7\n{'=' * 100}\n".encode()
    assert [data.decode() for data in logfile.unpadded(logfile.split(log).sources)] == files
    alone = f"main\n\n{'=' * 100}\n".encode()
    assert logfile.unpadded(logfile.split(alone).sources) == (b"main\n\n",)
