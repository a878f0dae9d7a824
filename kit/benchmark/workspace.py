"""
List the files of a directory that belong to a submission, and what lies beside them in a workspace.

An agent's workspace is often a git repository with a virtual environment and caches. These are left out: they
are in no digest and no run gets them, so code in them never runs. Whoever shows a submission lists them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from kit.core.errors import KitError, UsageError
from kit.core.open_folder import OpenFolder

MAX_FILES = 64
MAX_BYTES = 8 << 20
"""Total bytes of all files."""
MAX_DEPTH = 4
LEFT_OUT_DIRECTORIES = frozenset({"__pycache__", "node_modules", "venv"})
LEFT_OUT_FILES = re.compile(r"\..*|.*\.py[cod]|.*~|#.*#|Thumbs\.db|desktop\.ini", re.DOTALL)
"""Hidden files, byte code, and what editors and file managers write."""
VIRTUAL_ENVIRONMENT = "pyvenv.cfg"
"""A directory with this file is a virtual environment, whatever its name."""
RULES = "a submission has its training script, run.toml if it takes arguments, and other regular files"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True)
class FolderFault:
    """A rule of submissions that a directory breaks."""

    name: str
    """The file or directory, as a relative POSIX path; empty for the directory itself."""
    message: str
    hint: str
    error: type[KitError] = UsageError
    """What `load_submission` raises for it."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The content of a directory. All names are relative POSIX paths, sorted."""

    names: tuple[str, ...]
    """Files of the submission."""
    left_out: tuple[str, ...]
    """Files and directories that are no part of it; a directory ends with `/` and was not entered."""
    faults: tuple[FolderFault, ...]
    """Entries that a submission must not have."""


def is_left_out(name: str, may_be_directory: bool) -> bool:
    """Tell whether a file, or a directory or a link to one, of this name is no part of a submission."""
    return LEFT_OUT_FILES.fullmatch(name) is not None or (may_be_directory and name in LEFT_OUT_DIRECTORIES)


def list_folder(folder: OpenFolder) -> Listing:
    """
    List an open directory. Links are not followed, and directories that are left out are not entered.

    Listing ends at the first entry beyond `MAX_FILES`. Raises `OSError` if a directory cannot be read.
    """
    return _FolderWalk(folder).listing()


class _FolderWalk:
    """The state of one listing."""

    def __init__(self, folder: OpenFolder) -> None:
        """Prepare to list a directory; nothing is read yet."""
        self.folder = folder
        self.names: list[str] = []
        self.left_out: list[str] = []
        self.faults: list[FolderFault] = []
        self.waiting = [""]

    def listing(self) -> Listing:
        while self.waiting and len(self.faults) <= MAX_FILES:
            inside = self.waiting.pop()
            with self.folder.entries(inside) as entries:
                for entry in entries:
                    self._sort(entry, f"{inside}/{entry.name}" if inside else entry.name)
                    if len(self.names) > MAX_FILES or len(self.waiting) > MAX_FILES:
                        message = f"{self.folder.path} has more than {MAX_FILES} files"
                        self.faults.append(FolderFault("", message, RULES))
                        return self._ended()
        return self._ended()

    def _ended(self) -> Listing:
        faults = sorted(self.faults, key=lambda fault: fault.name)
        return Listing(tuple(sorted(self.names)), tuple(sorted(self.left_out)), tuple(faults))

    def _sort(self, entry: os.DirEntry[str], name: str) -> None:
        where = self.folder.path
        is_directory = entry.is_dir(follow_symlinks=False)
        if is_left_out(entry.name, is_directory or entry.is_symlink()):
            self.left_out.append(f"{name}/" if is_directory else name)
        elif is_directory and self.folder.is_file(f"{name}/{VIRTUAL_ENVIRONMENT}"):
            self.left_out.append(f"{name}/")
        elif not _NAME.fullmatch(entry.name):
            message = f"invalid file name {name!r} in {where}"
            self.faults.append(FolderFault(name, message, "use letters, digits, '_', '.' and '-'"))
        elif is_directory and name.count("/") + 1 >= MAX_DEPTH:
            message = f"{name} in {where} is more than {MAX_DEPTH} levels deep"
            self.faults.append(FolderFault(name, message, RULES))
        elif is_directory:
            self.waiting.append(name)
        elif not entry.is_file(follow_symlinks=False):
            kind = "a symbolic link" if entry.is_symlink() else "not a regular file"
            self.faults.append(FolderFault(name, f"{name} in {where} is {kind}", RULES))
        else:
            self.names.append(name)
