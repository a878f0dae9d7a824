"""Export a task as a directory for an agent, without anything of the target record."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.benchmark.hints import HintLevel, hint_form
from kit.benchmark.records import Record
from kit.benchmark.submission import load_submission
from kit.benchmark.task_files import MANIFEST, TEXT, manifest
from kit.benchmark.tasks.handout import handout
from kit.benchmark.tasks.smoke_task import smoke_task_handout
from kit.benchmark.tasks.task import chosen_hints, load_task
from kit.core.errors import PrerequisiteError, UsageError
from kit.core.files import disk_errors
from kit.values.task_id import is_smoke, listed_as


@dataclass(frozen=True, slots=True)
class TaskHandout:
    """The exported directory."""

    folder: Path
    task: int | str
    files: tuple[str, ...]
    """Relative to `folder`, sorted; without the hidden manifest."""


def export(
    root: Path, task: int | str, levels: tuple[HintLevel, ...], script: Path, out: Path
) -> TaskHandout:
    """
    Write `TASK.md`, the start record's script, `run.toml` and the chosen hints into the directory `out`.

    `script` is the directory that `records.fetch_script` returned for the start record; it is not checked
    again. `out` must be missing or empty, and is created atomically. Raises `UsageError` for an unknown task
    or a directory in use, `PrerequisiteError` for a missing hint.
    """
    start = load_task(root, task).start
    hints = chosen_hints(root, task, levels)
    files = {file.name: file.data for file in load_submission(script, start.script.entry).files}
    files[TEXT] = (smoke_task_handout if is_smoke(start.name) else handout)(start, hints).encode()
    files |= {f"hints/{hint_form(h.level).file}": h.text.encode() for h in hints}
    write_writable(out, files)
    return TaskHandout(out, listed_as(start.name), tuple(sorted(files)))


def task_text(start: Record) -> str:
    """Return `TASK.md` of the task that starts at record `start`, without its section about hints."""
    return (smoke_task_handout if is_smoke(start.name) else handout)(start, None)


def write_writable(out: Path, files: Mapping[str, bytes]) -> None:
    """
    Write files that their owner may edit into the directory `out`, which is created atomically.

    A manifest of the files for reading, if there are any, is added; see `kit.benchmark.task_files`.
    Raises `UsageError` if `out` is a directory that is not empty, `PrerequisiteError` if it is a file or
    cannot be made, `RunError` if the disk is full.
    """
    if out.exists() and not out.is_dir():
        raise PrerequisiteError(f"cannot write {out}: not a directory", "choose another --out")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} exists and is not an empty directory", "choose another --out")
    with disk_errors(out):
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
        try:
            staging.chmod(0o755)
            for name, data in sorted({**files, **_manifest(files)}.items()):
                path = staging / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                path.chmod(path.stat().st_mode | 0o600)
            staging.replace(out)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _manifest(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    data = manifest(files)
    return {MANIFEST: data} if data else {}
