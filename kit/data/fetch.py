"""Download shards into the store, and link them into a directory for the guest."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.core.digest import tree_digest
from kit.core.download import repeated
from kit.core.errors import IntegrityError, PrerequisiteError
from kit.core.files import write_atomic
from kit.core.store import Artifact, Fetcher, FolderFetcher, Progress, Store, no_progress
from kit.data.dataset import DataSet, ShardDigests, StatedBy, load_lock, read_statement
from kit.data.hub import Hub
from kit.data.memo import Memo, identity
from kit.data.shard import read_header


@dataclass(frozen=True, slots=True)
class Shards:
    """Shards in one directory of the store, each a hard link to its blob."""

    folder: Path
    files: tuple[Artifact, ...]
    """Sorted by name."""
    repo: str
    revision: str | None
    stated_by: StatedBy
    pinned: bool
    """The digests come from a committed lock. Otherwise a full run reports unpinned data."""


def fetch(
    dataset: DataSet,
    names: Sequence[str],
    store: Store,
    *,
    mirror: Path | None = None,
    endpoint: str | None = None,
    progress: Progress = no_progress,
) -> Shards:
    """
    Download the named shards into the store.

    Expected digests come from the lock if there is one, else from the files in `mirror` if given, else from
    the Hub's newest revision; the latter two are kept in the store, and the result is not pinned. Shards in
    the store are not downloaded. Raises as `Hub.state` and `Store.ensure` do; complete shards are kept.
    """
    lock = load_lock(dataset)
    statement = lock or _stated(dataset, names, store, mirror, endpoint, progress)
    artifacts = _select_artifacts(dataset, names, statement)
    sources: list[Fetcher] = [FolderFetcher(mirror)] if mirror else []
    if statement.revision and not all(store.has(a) for a in artifacts):
        sources += _hub_sources(statement, endpoint, bool(mirror))
    memo = Memo(store)
    for artifact in artifacts:
        fresh = not store.has(artifact)
        path = store.ensure(artifact, sources, progress)
        _check(path, dataset)
        if fresh:
            memo.learn(path, identity(path), artifact.sha256)
    return _lay_out(artifacts, statement, store, memo, pinned=lock is not None)


def find(dataset: DataSet, names: Sequence[str], store: Store) -> Shards:
    """
    Return the named shards in the store, without downloading.

    Raises `PrerequisiteError` with the command that downloads them. Their bytes are not read: see `verify`.
    """
    statement = find_statement(dataset, store)
    if statement is None:
        raise PrerequisiteError(
            f"no shard of {dataset.name} is in the store", "speedrun data fetch --record N"
        )
    artifacts = _select_artifacts(dataset, names, statement)
    absent = [a.name for a in artifacts if not store.has(a)]
    if absent:
        some = ", ".join(absent[:3]) + (" …" if len(absent) > 3 else "")
        raise PrerequisiteError(
            f"{len(absent)} of {len(artifacts)} shards of {dataset.name} are missing from the store ({some})",
            "speedrun data fetch --record N",
        )
    return _lay_out(artifacts, statement, store, Memo(store), pinned=load_lock(dataset) is not None)


def find_statement(dataset: DataSet, store: Store) -> ShardDigests | None:
    """Return the expected digests from the lock or from an earlier `fetch`; None if there are none."""
    return load_lock(dataset) or _known(dataset, store)


def _statement_path(dataset: DataSet, store: Store) -> Path:
    return store.room("data") / f"{dataset.name}.stated.json"


def _known(dataset: DataSet, store: Store) -> ShardDigests | None:
    path = _statement_path(dataset, store)
    return read_statement(path, dataset) if path.exists() else None


def _stated(
    dataset: DataSet,
    names: Sequence[str],
    store: Store,
    mirror: Path | None,
    endpoint: str | None,
    progress: Progress,
) -> ShardDigests:
    """Return the expected digests from mirror or Hub if there is no lock, and save them in the store."""
    known = _known(dataset, store)
    missing = [n for n in names if known is None or known.artifact(n) is None]
    if known is not None and not missing:
        return known
    if mirror is not None:
        new = _folder_statement(dataset, missing, mirror, store, progress)
    else:
        with repeated(progress, f"look up {dataset.name} on the Hub"):
            new = Hub(endpoint).state(dataset, missing, known.revision if known else None)
    statement = new if known is None else _merged(known, new)
    write_atomic(_statement_path(dataset, store), statement.to_json())
    return statement


def _merged(known: ShardDigests, new: ShardDigests) -> ShardDigests:
    files = tuple(sorted({*known.files, *new.files}, key=lambda a: a.name))
    if known.stated_by is new.stated_by and known.revision == new.revision:
        return ShardDigests(new.repo, new.revision, new.stated_by, new.dataset_sha256, files)
    return ShardDigests(new.repo, None, StatedBy.FOLDER, new.dataset_sha256, files)


def _folder_statement(
    dataset: DataSet, names: Sequence[str], mirror: Path, store: Store, progress: Progress
) -> ShardDigests:
    if not mirror.is_dir():
        raise PrerequisiteError(f"{mirror} is not a directory")
    places = {p.name: p for p in sorted(mirror.rglob("*.bin")) if p.is_file()}
    memo = Memo(store)
    files: list[Artifact] = []
    for n, name in enumerate(names):
        progress(f"reading {mirror}", n * dataset.size, len(names) * dataset.size)
        if name not in places:
            raise PrerequisiteError(
                f"{name} not found in {mirror}", f"download it from the data set {dataset.repo}"
            )
        _check(places[name], dataset)
        files.append(Artifact(name, dataset.size, memo.sha256(places[name])[0]))
    memo.save()
    return ShardDigests(
        dataset.repo, None, StatedBy.FOLDER, dataset.sha256, tuple(sorted(files, key=lambda a: a.name))
    )


def _hub_sources(statement: ShardDigests, endpoint: str | None, optional: bool) -> list[Fetcher]:
    try:
        return [Hub(endpoint).fetcher(statement.repo, statement.revision or "")]
    except PrerequisiteError:
        if optional:
            return []
        raise


def _select_artifacts(
    dataset: DataSet, names: Sequence[str], statement: ShardDigests
) -> tuple[Artifact, ...]:
    by_name = {a.name: a for a in statement.files}
    unknown = [n for n in names if n not in by_name]
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise PrerequisiteError(
            f"no digest is known for {unknown[0]}{more}", "speedrun data fetch --record N"
        )
    return tuple(by_name[n] for n in sorted(names))


def _check(path: Path, dataset: DataSet) -> None:
    tokens = read_header(path).tokens
    if tokens != dataset.tokens:
        raise IntegrityError(f"{path} has {tokens} tokens, expected {dataset.tokens}")


def _lay_out(
    artifacts: tuple[Artifact, ...], statement: ShardDigests, store: Store, memo: Memo, *, pinned: bool
) -> Shards:
    digest = tree_digest({a.name: a.sha256 for a in artifacts})
    folder = store.room("data") / f"shards-{digest[:16]}"
    if not _is_laid_out(folder, artifacts, store, memo):
        with store.lock(f"data-{digest[:16]}"):
            # another process may have made it meanwhile, and its guest may be reading it
            if not _is_laid_out(folder, artifacts, store, memo):
                _replace(folder, artifacts, store, memo)
    memo.save()
    return Shards(folder, artifacts, statement.repo, statement.revision, statement.stated_by, pinned)


def _replace(folder: Path, artifacts: tuple[Artifact, ...], store: Store, memo: Memo) -> None:
    with store.staging("data") as staging:
        for artifact in artifacts:
            memo.link(store.blob(artifact.sha256), staging / artifact.name)
        shutil.rmtree(folder, ignore_errors=True)
        staging.replace(folder)


def _is_laid_out(folder: Path, artifacts: tuple[Artifact, ...], store: Store, memo: Memo) -> bool:
    """Tell whether each file is a link to its blob, or a copy on a file system without hard links."""
    try:
        names = sorted(p.name for p in folder.iterdir())
        return names == [a.name for a in artifacts] and all(
            (folder / a.name).samefile(store.blob(a.sha256)) or memo.sha256(folder / a.name)[0] == a.sha256
            for a in artifacts
        )
    except FileNotFoundError:
        return False
