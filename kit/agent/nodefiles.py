"""
The files of a run's nodes.

`nodes/NNN/` holds `submission/`, `prompt.md`, `answer-K.md`, `diff.patch` and `evaluated.json`. The journal
has their digests. Every file is written before the event that names it, so an interrupted step writes the
same bytes again.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kit.agent.evaluator import EvaluatedRun
from kit.agent.llm.wire import Message
from kit.agent.node import EvaluationOutcome
from kit.core.codec import decode, encode
from kit.core.digest import Sha256, canonical_json, sha256_bytes, tree_digest
from kit.core.errors import IntegrityError, KitError, PrerequisiteError
from kit.core.files import disk_errors, staged, write_atomic
from kit.core.open_folder import made_below
from kit.core.schema import read_bounded, read_json
from kit.result.statement import LOG

NODES = "nodes"
SUBMISSION = "submission"

Files = Mapping[str, bytes]
"""Relative POSIX path -> bytes."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """`evaluated.json`: what the host may show of an evaluation, besides its outcome."""

    log: str | None
    """Relative to the run's directory, or absolute outside it."""
    findings: tuple[str, ...]
    losses: tuple[_Loss, ...]


@dataclass(frozen=True, slots=True)
class _Loss:
    step: int
    val_loss: float


def files_digest(files: Files) -> Sha256:
    """Return the digest of a submission's files."""
    return tree_digest({name: sha256_bytes(data) for name, data in files.items()})


class NodeFiles:
    """The directory of one node; with another `place`, that of a try of a session."""

    def __init__(self, run: Path, node: int, place: str = NODES) -> None:
        self._run = run
        self.folder = run / place / f"{node:03d}"

    @property
    def submission(self) -> Path:
        """The directory that is evaluated."""
        return self.folder / SUBMISSION

    @property
    def prompt(self) -> Path:
        """The node's first prompt, for people to read."""
        return self.folder / "prompt.md"

    @property
    def diff(self) -> Path:
        """The node's change against its parent."""
        return self.folder / "diff.patch"

    def answer(self, call: int) -> Path:
        """Return the file of an answer's text."""
        return self.folder / f"answer-{call}.md"

    def write_submission(self, files: Files) -> Sha256:
        """
        Replace the node's submission; return its digest.

        Raises `IntegrityError` for a path that leaves the directory.
        """
        for name in files:
            if not _is_inside(name):
                raise IntegrityError(f"invalid file name in a submission: {name[:200]!r}")
        digest = files_digest(files)
        own_folder = self.submission.is_dir() and not self.submission.is_symlink()
        if own_folder and _digest_of(self.submission) == digest:
            return digest
        with self.opened() as own, staged(own) as folder:
            for name, data in sorted(files.items()):
                write_atomic(folder / name, data)
            if (own / SUBMISSION).is_symlink():
                (own / SUBMISSION).unlink()
            elif (own / SUBMISSION).is_dir():
                shutil.rmtree(own / SUBMISSION)
            folder.rename(own / SUBMISSION)
        return digest

    @contextlib.contextmanager
    def private_copy(self, files: Files) -> Iterator[Path]:
        """
        Yield a directory with `files` outside the run's, for what reads a submission by its path.

        An agent that may write in the run's directory could exchange the node's submission before it is read.
        """
        with tempfile.TemporaryDirectory(prefix="speedrun-submission-") as outside:
            folder = Path(outside, self.folder.name, SUBMISSION)
            with disk_errors(folder):
                for name, data in sorted(files.items()):
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / name).write_bytes(data)
            yield folder

    @contextlib.contextmanager
    def opened(self) -> Iterator[Path]:
        """
        Create the node's directory if it is missing; yield a path of it for this process, for the block.

        Raises `IntegrityError` for a link in its place: what is written there would be in a directory of
        someone else.
        """
        name = self.folder.relative_to(self._run)
        with contextlib.ExitStack() as held:
            try:
                with disk_errors(self.folder):
                    own = held.enter_context(made_below(self._run, name.as_posix()))
            except (OSError, KitError):
                link = next((p for p in (self.folder.parent, self.folder) if p.is_symlink()), None)
                if link is None:
                    raise
                raise IntegrityError(f"{link} is a symbolic link", "make it a directory again") from None
            yield own

    def read_submission(self, expected: str | None) -> dict[str, bytes]:
        """Return the node's files. Raises `IntegrityError` if their digest is not `expected`."""
        files = read_tree(self.submission)
        if files_digest(files) != expected:
            raise IntegrityError(
                f"{self.submission} was changed: its digest is not the one in the journal",
                "restore the directory from a copy",
            )
        return files

    def write_prompt(self, messages: tuple[Message, ...]) -> None:
        """Write the node's first prompt for people to read; the exact request is in `calls/`."""
        self._write(self.prompt, prompt_bytes(messages))

    def write_answer(self, call: int, text: str) -> None:
        """Write the text of an answer."""
        self._write(self.answer(call), text_bytes(text))

    def write_diff(self, diff: str) -> Sha256:
        """Write the node's change against its parent; return the digest."""
        data = text_bytes(diff)
        self._write(self.diff, data)
        return sha256_bytes(data)

    def write_evaluated(self, run: EvaluatedRun) -> None:
        """Write what the host may show of the node's evaluation."""
        log = None
        if run.log is not None:
            inside = run.log.is_relative_to(self._run)
            log = str(run.log.relative_to(self._run) if inside else run.log.absolute())
        losses = tuple(_Loss(step, loss) for step, loss in run.losses)
        shown = _Shown(log, run.findings, losses)
        self._write(self.folder / "evaluated.json", canonical_json(encode(_Shown, shown)) + b"\n")

    def _write(self, path: Path, data: bytes) -> None:
        with self.opened() as own:
            write_atomic(own / path.name, data)

    def read_evaluated(self, outcome: EvaluationOutcome) -> EvaluatedRun:
        """
        Return the node's evaluation, whose outcome the journal holds.

        Nothing signs `evaluated.json`, and a prompt quotes the log that it names. Raises `IntegrityError` if
        that is no guest's log: the run's directory may have been a stranger's.
        """
        path = self.folder / "evaluated.json"
        shown: _Shown = decode(_Shown, read_json(path), str(path))
        log = None if shown.log is None else self._run / shown.log
        if log is not None and (log.name != LOG or log.is_symlink()):
            raise IntegrityError(
                f"{path} names {shown.log!r:.200} as the log of a guest", "restore the directory from a copy"
            )
        losses = tuple((loss.step, loss.val_loss) for loss in shown.losses)
        return EvaluatedRun(outcome, log, shown.findings, losses)


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    plain = bool(name) and "\0" not in name and "\\" not in name and str(path) == name
    return plain and not path.is_absolute() and ".." not in path.parts and name != "."


def read_tree(folder: Path) -> dict[str, bytes]:
    """Return the regular files below a directory. Raises `PrerequisiteError` if it does not exist."""
    if not folder.is_dir():
        raise PrerequisiteError(f"{folder} does not exist", "restore the directory from a copy")
    return {
        path.relative_to(folder).as_posix(): read_bounded(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def _digest_of(folder: Path) -> Sha256:
    return files_digest(read_tree(folder))


def prompt_bytes(messages: tuple[Message, ...]) -> bytes:
    """Return the bytes of `prompt.md`."""
    return text_bytes("\n\n".join(f"## {message.role}\n\n{message.content}" for message in messages) + "\n")


def text_bytes(text: str) -> bytes:
    """Return a text as UTF-8; an answer can contain a lone surrogate."""
    return text.encode("utf-8", "replace")
