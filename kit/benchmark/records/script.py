"""A record's script: fetched, cut out of its log, edited, checked, laid out as a submission. Runs nothing."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from kit.benchmark.records.record import Edit, LineEdit, Record, Script, ScriptSource, UpstreamFile
from kit.benchmark.records.upstream import HttpsFile, MirrorFile
from kit.core.digest import Sha256, files_under, sha256_bytes, tree_digest
from kit.core.errors import DigestMismatch, IntegrityError
from kit.core.store import Artifact, Fetcher, Progress, Store, no_progress
from kit.values import logfile

RUN_TOML = "run.toml"


def sources(file: UpstreamFile, mirror: Path | None = None) -> tuple[Fetcher, ...]:
    """Return where an upstream file is looked for: in `mirror` alone if it is given, else over https."""
    if mirror is not None:
        return (MirrorFile(mirror, file.commit, file.path),)
    return (HttpsFile(file.commit, file.path),)


def fetch_script(
    record: Record, store: Store, fetchers: Sequence[Fetcher], progress: Progress = no_progress
) -> Path:
    """
    Return a folder of the store that holds the record's script as a submission.

    It has `train_gpt2.py`, further files if the script has any, and `run.toml` with the arguments.
    Raises as `Store.ensure` does if the file cannot be had, `DigestMismatch` if what was cut out of it
    is not what the record promises. The folder is made once and compared each time.
    """
    origin = record.script.origin
    artifact = Artifact(origin.path.rsplit("/", 1)[-1], origin.size, origin.sha256)
    raw = store.ensure(artifact, fetchers, progress).read_bytes()
    files = dict(script_files(record.script, raw))
    files[RUN_TOML] = run_toml(record.script.args)
    expected = tree_digest({name: sha256_bytes(data) for name, data in files.items()})
    folder = store.room("scripts") / f"{record.number:02d}-{expected[:16]}"
    if not _holds(folder, expected):
        with store.lock(f"script-{record.number:02d}"):
            if not _holds(folder, expected):
                _lay_out(store, folder, files)
    return folder


def script_files(script: Script, raw: bytes) -> tuple[tuple[str, bytes], ...]:
    """
    Cut a script's files out of the bytes of its origin, edit them and compare each with its digest.

    Raises `DigestMismatch` naming the file, `IntegrityError` if an edit's line is not there.
    """
    match script.source:
        case ScriptSource.FILE:
            files = [(script.entry, raw)]
        case ScriptSource.LOG:
            files = [(s.name, s.data) for s in logfile.split(raw).sources]
    if [name for name, _ in files] != [f.name for f in script.files]:
        names = ", ".join(name for name, _ in files) or "nothing"
        raise IntegrityError(
            f"{script.origin.path} holds {names}, expected {', '.join(f.name for f in script.files)}"
        )
    edited: list[tuple[str, bytes]] = []
    for (name, data), promised in zip(files, script.files, strict=True):
        for edit in script.edits:
            if edit.file == name:
                data = apply_edit(data, edit)
        if (digest := sha256_bytes(data)) != promised.sha256:
            raise DigestMismatch(
                f"{name} of {script.origin.path} has sha256 {digest}, expected {promised.sha256}"
            )
        edited.append((name, data))
    return tuple(edited)


def apply_edit(data: bytes, edit: Edit) -> bytes:
    """
    Comment whole lines out or in, keeping their indentation and every line number.

    Raises `IntegrityError` if a line does not exist or is not a comment that could be opened.
    """
    lines = data.split(b"\n")
    for number in edit.lines:
        match = re.fullmatch(rb"([ \t]*)(# ?)?(.*)", lines[number - 1]) if number <= len(lines) else None
        if match is None or not match[3] or (match[2] is None) is (edit.change is LineEdit.UNCOMMENT):
            raise IntegrityError(f"{edit.file}: line {number} cannot be changed ({edit.change})")
        mark = b"# " if edit.change is LineEdit.COMMENT else b""
        lines[number - 1] = match[1] + mark + match[3]
    return b"\n".join(lines)


def own_digest(record: Record) -> Sha256:
    """Return the tree digest of the record's own submission, without fetching it."""
    files = {f.name: f.sha256 for f in record.script.files}
    return tree_digest({**files, RUN_TOML: sha256_bytes(run_toml(record.script.args))})


def run_toml(args: tuple[str, ...]) -> bytes:
    """Return the `run.toml` that gives a script its arguments."""
    lines = [f"args = {json.dumps(list(args))}" if len(args) < 4 else _long(args)]
    return "\n".join([*lines, ""]).encode()


def _long(args: tuple[str, ...]) -> str:
    return "args = [\n" + "".join(f"  {json.dumps(a)},\n" for a in args) + "]"


def _holds(folder: Path, expected: Sha256) -> bool:
    return folder.is_dir() and tree_digest(files_under(folder)) == expected


def _lay_out(store: Store, folder: Path, files: dict[str, bytes]) -> None:
    with store.staging("scripts") as staging:
        for name, data in sorted(files.items()):
            path = staging / name
            path.write_bytes(data)
            path.chmod(0o444)
        if folder.exists():
            shutil.rmtree(folder)
        staging.replace(folder)
