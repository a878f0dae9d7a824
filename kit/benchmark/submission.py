"""Load a submission: the directory that an agent hands in."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from kit.core.digest import Sha256, sha256_bytes, tree_digest
from kit.core.errors import PrerequisiteError, SchemaError, UsageError
from kit.core.files import make_readable
from kit.core.schema import parse_toml, validate
from kit.core.system import NOFOLLOW, NONBLOCK, READ

ENTRY = "train_gpt2.py"
RUN_TOML = "run.toml"
MAX_FILES = 64
MAX_BYTES = 8 << 20
"""Total bytes of all files."""
MAX_DEPTH = 4
CACHE = "__pycache__"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_RUN = 'write one line into run.toml, for example: args = ["--lr", "0.1"]'
_RULES = f"a submission has {ENTRY}, {RUN_TOML} if it takes arguments, and other regular files"


@dataclass(frozen=True, slots=True)
class SubmissionFile:
    """One file in memory, so that the checked bytes are the bytes that run."""

    name: str
    """Relative POSIX path."""
    data: bytes
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Submission:
    """The content of a submission at the time of loading."""

    entry: str
    args: tuple[str, ...]
    files: tuple[SubmissionFile, ...]
    """Sorted by name, including `run.toml` if it exists."""

    @property
    def digest(self) -> Sha256:
        """Return the digest of the whole submission; see `kit.core.digest.tree_digest`."""
        return tree_digest({f.name: f.sha256 for f in self.files})

    def write(self, folder: Path) -> None:
        """Write the files into an empty directory, read-only, for the guest."""
        for file in self.files:
            path = folder / file.name
            make_readable(path.parent, folder)
            with path.open("xb") as f:
                f.write(file.data)
            path.chmod(0o444)


def load_submission(folder: Path) -> Submission:
    """
    Read a submission into memory.

    Links, devices, pipes, sockets, hidden files and names other than `[A-Za-z0-9_.-]` are refused. So are
    more than 64 files, 8 MiB or 4 levels, and an invalid `run.toml`. `__pycache__` is left out. The code is
    not checked. Raises `PrerequisiteError` if the directory or its entry file is missing, `UsageError` if it
    breaks a rule, `SchemaError` for `run.toml`.
    """
    if not folder.is_dir():
        raise PrerequisiteError(f"not a directory: {folder}", _RULES)
    names = _names(folder)
    if ENTRY not in names:
        raise PrerequisiteError(f"{ENTRY} not found in {folder}", _RULES)
    files: list[SubmissionFile] = []
    left = MAX_BYTES
    for name in names:
        data = _read(folder / name, left)
        left -= len(data)
        files.append(SubmissionFile(name, data, sha256_bytes(data)))
    return Submission(ENTRY, _args(files, folder), tuple(files))


def _names(folder: Path) -> list[str]:
    names: list[str] = []
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                name = Path(entry.path).relative_to(folder).as_posix()
                if _is_folder(entry, name, folder):
                    waiting.append(Path(entry.path))
                elif entry.name != CACHE:
                    names.append(name)
                if len(names) > MAX_FILES or len(waiting) > MAX_FILES:
                    raise UsageError(f"{folder} has more than {MAX_FILES} files", _RULES)
    return sorted(names)


def _is_folder(entry: os.DirEntry[str], name: str, folder: Path) -> bool:
    """Return whether an entry is a directory to read; refuse everything but files and directories."""
    if entry.name == CACHE and entry.is_dir(follow_symlinks=False):
        return False
    if not _NAME.fullmatch(entry.name):
        raise UsageError(f"invalid file name {name!r} in {folder}", "use letters, digits, '_', '.' and '-'")
    if entry.is_dir(follow_symlinks=False):
        if name.count("/") + 1 >= MAX_DEPTH:
            raise UsageError(f"{name} in {folder} is more than {MAX_DEPTH} levels deep", _RULES)
        return True
    if not entry.is_file(follow_symlinks=False):
        kind = "a symbolic link" if entry.is_symlink() else "not a regular file"
        raise UsageError(f"{name} in {folder} is {kind}", _RULES)
    return False


def _read(path: Path, limit: int) -> bytes:
    # The file may have been replaced by a link or a pipe since it was listed: do not follow, do not block.
    try:
        fd = os.open(path, READ | NOFOLLOW | NONBLOCK)
    except OSError as e:
        raise UsageError(f"cannot read {path}: {e.strerror}", _RULES) from e
    with os.fdopen(fd, "rb") as f:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise UsageError(f"{path} is not a regular file", _RULES)
        data = f.read(limit + 1)
    if len(data) > limit:
        raise UsageError(
            f"the submission is larger than {MAX_BYTES >> 20} MiB (at {path})", "submit code, not data"
        )
    return data


def _args(files: list[SubmissionFile], where: Path) -> tuple[str, ...]:
    data = next((f.data for f in files if f.name == RUN_TOML), b"")
    try:
        document = parse_toml(data, str(where / RUN_TOML))
        validate("run.v1", document, str(where / RUN_TOML))
    except SchemaError as e:
        raise SchemaError(e.message, _RUN) from e
    return tuple(document.get("args", ()))
