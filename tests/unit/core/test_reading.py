"""A file that cannot be opened or read to its end is named, with what to do about it."""

from __future__ import annotations

import errno
import gzip
import shlex
from pathlib import Path

import pytest

from kit.cli import run, speedrun
from kit.core.errors import ALLOW, CHECK_PATH, PrerequisiteError
from kit.core.reading import DISK, open_file, unreadable

MEMORY = Path("/proc/self/mem")
"""A regular file whose first byte cannot be read, as on a failing disk."""
only_linux = pytest.mark.skipif(not MEMORY.is_file(), reason="needs Linux")


@only_linux
@pytest.mark.parametrize("size", [-1, 1, 1 << 20])
def test_an_error_while_a_file_is_read_names_it(size: int) -> None:
    with open_file(MEMORY) as file, pytest.raises(OSError) as e:
        file.read(size)
    assert (e.value.errno, e.value.filename) == (errno.EIO, str(MEMORY))


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.ENOENT, CHECK_PATH), (errno.EACCES, ALLOW), (errno.EPERM, ALLOW), (errno.EIO, DISK)],
)
def test_the_hint_is_about_what_failed(number: int, hint: str) -> None:
    error = unreadable(Path("x"), OSError(number, "Failed", "x"))
    assert isinstance(error, PrerequisiteError)
    assert (error.message, error.hint) == ("cannot read x: Failed", hint)
    assert unreadable(Path("x"), OSError(number, "Failed"), "another").hint == "another"


@only_linux
@pytest.mark.parametrize(
    "line",
    [
        "bundle verify FILE",
        "bundle show FILE",
        "log parse FILE",
        "log export FILE",
        "record draft FILE --id 90",
        "pack FILE",
        "unpack FILE",
        "reproduce FILE",
        "score --table FILE",
        "keys trust FILE",
        "sweep plan FILE",
        "distance FILE --task smoke-1",
        "agent run --task smoke-1 --model FILE --plan",
        "agent run --task smoke-1 --model scripted --knowledge FILE --plan",
    ],
)
def test_a_file_that_fails_while_it_is_read_ends_a_command_with_3(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("failing.tar").symlink_to(MEMORY)
    assert run(shlex.split(line.replace("FILE", "failing.tar"))) == 3
    error = capsys.readouterr().err
    assert "failing.tar: Input/output error" in error and "\nhint: " in error
    assert [path.name for path in tmp_path.iterdir()] == ["failing.tar"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 4096, b"\x81random" * 4096, gzip.compress(b"x", mtime=0)],
    ids=["empty", "zeros", "random", "gzip"],
)
@pytest.mark.parametrize("command", ["unpack", "bundle verify"])
def test_an_archive_of_other_bytes_is_refused_with_a_hint(
    command: str,
    content: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.tar").write_bytes(content)
    assert run([*command.split(), "other.tar"]) == 4
    error = capsys.readouterr().err
    assert "other.tar" in error and "\nhint: " in error
    assert [path.name for path in tmp_path.iterdir()] == ["other.tar"]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), 3, ["a/b: Permission denied", ALLOW]),
        (OSError(errno.EIO, "Input/output error"), 5, ["Input/output error", "check the disk"]),
        (OSError(errno.EIO, "Input/output error", "a/b"), 5, ["a/b: Input/output error", "check the disk"]),
    ],
)
def test_an_error_of_the_system_that_nobody_caught_has_a_hint(
    error: OSError,
    code: int,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(speedrun, "main", fail)
    assert run(["anything"]) == code
    shown = capsys.readouterr().err
    assert all(text in shown for text in said) and "unexpected" not in shown
