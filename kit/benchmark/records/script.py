"""Fetch a record's script, extract and edit it, check its digest and lay it out as a submission."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from kit.benchmark.records.record import Edit, LineEdit, Record, Script, ScriptSource, UpstreamFile
from kit.benchmark.records.upstream import CloneFile, HttpsFile
from kit.benchmark.submission import RUN_TOML
from kit.core.digest import Sha256, files_under, sha256_bytes, tree_digest
from kit.core.errors import DigestMismatch, IntegrityError, NetworkError, PrerequisiteError
from kit.core.facts import facts_root
from kit.core.store import Artifact, Fetcher, Progress, Store, no_progress
from kit.values import logfile
from kit.values.task_id import SMOKE, file_label

Sources = Callable[[UpstreamFile], Sequence[Fetcher]]
"""Returns the sources of an upstream file, in addition to the store."""


def sources(upstream: Path | None = None) -> Sources:
    """Return the sources of upstream files: only `upstream` if it is given, else https."""

    def of(file: UpstreamFile) -> Sequence[Fetcher]:
        if upstream is not None:
            return (CloneFile(upstream, file.commit, file.path),)
        return (HttpsFile(file.commit, file.path),)

    return of


def nowhere(file: UpstreamFile) -> Sequence[Fetcher]:
    """Return no sources: use only the store."""
    return ()


def fetch_script(record: Record, store: Store, sources: Sources, progress: Progress = no_progress) -> Path:
    """
    Return a directory of the store that holds the record's script as a submission.

    It contains the script's files and `run.toml` with the arguments. Raises as `Store.ensure` does if a file
    cannot be fetched, `DigestMismatch` if a file does not match the record's digest. The directory is created
    once and checked each time.
    """
    if record.script.source is ScriptSource.KIT:
        raw = kit_files(record)
    else:
        raw = [_fetch(record, origin, store, sources, progress) for origin in record.script.origins]
    files = dict(script_files(record.script, raw))
    files[RUN_TOML] = run_toml(record.script.args)
    expected = tree_digest({name: sha256_bytes(data) for name, data in files.items()})
    label = file_label(record.name)
    folder = store.room("scripts") / f"{label}-{expected[:16]}"
    if not _holds(folder, expected):
        with store.lock(f"script-{label}"):
            if not _holds(folder, expected):
                _lay_out(store, folder, files)
    return folder


def kit_files(record: Record) -> list[bytes]:
    """
    Return the files of a smoke record's script as this kit has them; their digests are not checked here.

    Raises `PrerequisiteError` if one is missing.
    """
    folder = facts_root() / "records" / "smoke" / record.name.removeprefix(SMOKE)
    try:
        return [(folder / file.name).read_bytes() for file in record.script.files]
    except OSError as e:
        raise PrerequisiteError(f"cannot read {e.filename}: {e.strerror}", "reinstall speedrun-kit") from e


def _fetch(record: Record, origin: UpstreamFile, store: Store, sources: Sources, progress: Progress) -> bytes:
    command = f"speedrun record fetch {record.name}"
    artifact = Artifact(origin.path.rsplit("/", 1)[-1], origin.size, origin.sha256)
    try:
        return store.ensure(artifact, sources(origin), progress).read_bytes()
    except PrerequisiteError as e:  # the store's hint is about directories of files
        raise PrerequisiteError(
            e.message,
            f"with a network: {command}; or from a clone that has the commit: {command} --upstream CLONE",
        ) from e
    except NetworkError as e:
        hint = f"{e.hint}, or get it from a clone of upstream: {command} --upstream CLONE"
        raise NetworkError(e.message, hint) from e


def script_files(script: Script, raw: Sequence[bytes]) -> tuple[tuple[str, bytes], ...]:
    """
    Extract a script's files from the fetched bytes, edit them and check their digests.

    Raises `DigestMismatch` naming the file, `IntegrityError` if an edit does not apply.
    """
    match script.source:
        case ScriptSource.FILE | ScriptSource.KIT:
            files = [(f.name, data) for f, data in zip(script.files, raw, strict=True)]
        case ScriptSource.LOG:
            files = _files_in_log(script, raw[0])
    if [name for name, _ in files] != [f.name for f in script.files]:
        names = ", ".join(name for name, _ in files) or "nothing"
        raise IntegrityError(
            f"{_origin(script)} contains {names}, expected {', '.join(f.name for f in script.files)}"
        )
    edited: list[tuple[str, bytes]] = []
    for (name, data), promised in zip(files, script.files, strict=True):
        for edit in script.edits:
            if edit.file == name:
                data = apply_edit(data, edit)
        if (digest := sha256_bytes(data)) != promised.sha256:
            raise DigestMismatch(
                f"checksum mismatch: {name} of {_origin(script)} has sha256 {digest}, "
                f"expected {promised.sha256}"
            )
        edited.append((name, data))
    return tuple(edited)


def _origin(script: Script) -> str:
    return script.origins[0].path if script.origins else "records/smoke"


def _files_in_log(script: Script, raw: bytes) -> list[tuple[str, bytes]]:
    """Return the sources in a log; the first one is the entry file."""
    embedded = logfile.split(raw).sources
    data = logfile.unpadded(embedded)
    return [(script.entry if i == 0 else s.name, data[i]) for i, s in enumerate(embedded)]


def apply_edit(data: bytes, edit: Edit) -> bytes:
    """
    Comment whole lines out or in, and keep indentation and line numbers.

    Raises `IntegrityError` if a line does not exist or the change does not apply to it.
    """
    lines = data.split(b"\n")
    for number in edit.lines:
        match = re.fullmatch(rb"([ \t]*)(# ?)?(.*)", lines[number - 1]) if number <= len(lines) else None
        if match is None or not match[3] or (match[2] is None) is (edit.change is LineEdit.UNCOMMENT):
            raise IntegrityError(f"{edit.file}: cannot {edit.change} line {number}")
        mark = b"# " if edit.change is LineEdit.COMMENT else b""
        lines[number - 1] = match[1] + mark + match[3]
    return b"\n".join(lines)


def own_digest(record: Record) -> Sha256:
    """Return the tree digest of the record's script as a submission, without fetching it."""
    files = {f.name: f.sha256 for f in record.script.files}
    return tree_digest({**files, RUN_TOML: sha256_bytes(run_toml(record.script.args))})


def run_toml(args: tuple[str, ...]) -> bytes:
    """Return a `run.toml` with a script's arguments."""
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
