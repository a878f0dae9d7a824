"""Read the scripts that judging needs: a submission's or a run's, and a task's start and target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.benchmark import records
from kit.benchmark.records import Record
from kit.benchmark.submission import ENTRY, RUN_TOML, load_submission
from kit.benchmark.tasks import Task, load_task
from kit.core.digest import Sha256, files_under, sha256_bytes, tree_digest
from kit.core.errors import KitError, SchemaError, UsageError
from kit.core.reading import unreadable
from kit.core.schema import parse_toml, read_bounded
from kit.core.store import Store
from kit.judge.source import NormalSource, normalise
from kit.result.folder import BUNDLE
from kit.result.statement import SUBMISSION
from kit.values.task_id import listed_as


@dataclass(frozen=True, slots=True)
class JudgedScript:
    """A script as it was found, and normalised."""

    sha256: Sha256
    """The tree digest of the submission."""
    source: NormalSource
    text: str = ""
    """The Python files as they were found, sorted by name, one after the other."""
    file: str | None = None
    """The name of the one Python file that was given; None: a directory was."""


@dataclass(frozen=True, slots=True)
class TaskPair:
    """The scripts between which a task lies."""

    start: NormalSource
    target: NormalSource


def read_judged(path: Path) -> JudgedScript:
    """
    Read a script: a Python file, a submission's directory, or a run's directory or bundle.

    Nothing of it is run, and no signature is checked. Raises `PrerequisiteError` if there is none, and as
    `load_submission` and `normalise` do.
    """
    if path.name == BUNDLE and path.is_file():
        path = path.parent
    if (path / SUBMISSION).is_dir():
        path = path / SUBMISSION
    if path.is_dir():
        submission = load_submission(path)
        files = {file.name: file.data for file in submission.files}
        return JudgedScript(submission.digest, normalise(files, submission.args), whole_text(files))
    try:
        data = read_bounded(path)
    except OSError as e:
        raise unreadable(path, e, "pass a script, a submission or the directory of a run") from e
    files = {ENTRY: data}
    digest = tree_digest({ENTRY: sha256_bytes(data)})
    try:
        source = normalise(files)
    except SchemaError as e:
        raise SchemaError(e.message.replace(ENTRY, str(path), 1), e.hint) from e
    return JudgedScript(digest, source, whole_text(files), path.name)


def require_whole(judged: JudgedScript, root: Path, task: int | str) -> None:
    """
    Refuse a single file for a task whose scripts take arguments or have several Python files.

    Its arguments and other files are a part of the script: without them the start script of task 3 would
    contain 0.17 of its change. Raises `UsageError`.
    """
    chosen: Task = load_task(root, task)
    for record in (chosen.start, chosen.target):
        names = [f.name for f in record.script.files if f.name.endswith(".py")]
        if judged.file is not None and (record.script.args or len(names) > 1):
            what = "takes arguments" if record.script.args else f"has {len(names)} Python files"
            raise UsageError(
                f"{judged.file} is a single file, and the script of record {record.name} {what}",
                "pass the directory that holds the script, with its run.toml and further files",
            )


def task_pair(root: Path, task: int | str, store: Path, upstream: Path | None) -> TaskPair:
    """
    Return the start and the target script of a task; they are fetched if the store lacks them.

    `root` is that of `kit.core.facts.facts_root`. Raises as `load_task` and `records.fetch_script` do.
    """
    chosen: Task = load_task(root, task)
    return TaskPair(*(record_source(record, store, upstream) for record in (chosen.start, chosen.target)))


def task_pairs(
    root: Path, store: Path, upstream: Path | None, missing: Callable[[str], None]
) -> Callable[[str], TaskPair | None]:
    """
    Return what gives the scripts of each task, by its name: read once, None where they cannot be had.

    `missing` is called with the reason, once for such a task.
    """
    pairs: dict[str, TaskPair | None] = {}

    def pair_of(task: str) -> TaskPair | None:
        if task not in pairs:
            try:
                pairs[task] = task_pair(root, listed_as(task), store, upstream)
            except KitError as e:
                pairs[task] = None
                missing(f"no distances for task {task}: {e.headline}")
        return pairs[task]

    return pair_of


def record_source(record: Record, store: Path, upstream: Path | None) -> NormalSource:
    """Return the normalised script of a record."""
    files = record_files(record, store, upstream)
    arguments = parse_toml(files[RUN_TOML], RUN_TOML)["args"] if RUN_TOML in files else ()
    return normalise(files, arguments)


def record_files(record: Record, store: Path, upstream: Path | None) -> dict[str, bytes]:
    """Return the files of a record's script, fetched if the store lacks them."""
    folder = records.fetch_script(record, Store(store), records.sources(upstream))
    return {name: (folder / name).read_bytes() for name in files_under(folder)}


def task_texts(root: Path, task: int | str, store: Path, upstream: Path | None) -> tuple[str, str]:
    """Return the start and the target script of a task as they are published. Raises as `task_pair`."""
    chosen: Task = load_task(root, task)
    start, target = (record_files(record, store, upstream) for record in (chosen.start, chosen.target))
    return whole_text(start), whole_text(target)


def whole_text(files: Mapping[str, bytes]) -> str:
    """Return the Python files of a script, sorted by name, as one text."""
    return "\n".join(
        data.decode("utf-8", "replace") for name, data in sorted(files.items()) if name.endswith(".py")
    )
