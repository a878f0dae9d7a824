"""Download shards into the store, and link them into a directory for the guest."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.core.digest import tree_digest
from kit.core.errors import IntegrityError, NetworkError, PrerequisiteError
from kit.core.files import files_below
from kit.core.store import Artifact, Fetcher, FolderFetcher, Progress, Store, no_progress
from kit.core.text import counted
from kit.data.dataset import DataSet, ShardDigests, StatedBy
from kit.data.hub import Hub
from kit.data.memo import Memo, identity
from kit.data.shard import read_header
from kit.data.statements import ShardStatements, StatedShard, keep_statement, read_statements, select

NEWEST = "main"
"""Where the Hub is asked for shards of a lock without revision; their digests decide."""


@dataclass(frozen=True, slots=True)
class Shards:
    """Shards in one directory of the store, each a hard link to its blob."""

    folder: Path
    stated: tuple[StatedShard, ...]
    """Sorted by name."""
    repo: str
    pinned: bool
    """The digests come from a committed lock. Otherwise a full run reports unpinned data."""

    @property
    def files(self) -> tuple[Artifact, ...]:
        """Return the shards without the sources of their digests, sorted by name."""
        return tuple(s.artifact for s in self.stated)

    @property
    def stated_by(self) -> StatedBy:
        """Return the source of the digests: the Hub only if it stated all of them."""
        return next((s.stated_by for s in self.stated if s.stated_by is not StatedBy.HUB), StatedBy.HUB)

    @property
    def revision(self) -> str | None:
        """Return the Hub's revision; None unless the Hub stated all digests."""
        return self.stated[0].revision if self.stated and self.stated_by is StatedBy.HUB else None


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

    Expected digests come from the lock if there is one, else from the file in `mirror` if it has one, else
    from the Hub's newest revision; the latter two are kept in the store, and the result is not pinned. Shards
    in the store are not downloaded. Raises as `Hub.state` and `Store.ensure` do; complete shards are kept.
    """
    statements = read_statements(dataset, store)
    if not statements.pinned and (missing := _unstated(statements, names, store)):
        _state(dataset, missing, statements.hub_revision, store, mirror, endpoint, progress)
        statements = read_statements(dataset, store)
    stated = _select(names, statements)
    local: list[Fetcher] = [FolderFetcher(mirror)] if mirror else []
    hubs = _hub_sources(statements, stated, store, endpoint, bool(mirror))
    memo = Memo(store)
    for shard in stated:
        artifact = shard.artifact
        fresh = not store.has(artifact)
        path = store.ensure(
            artifact, [*local, *hubs] if shard.revision or statements.pinned else local, progress
        )
        _check(path, dataset)
        if fresh:
            memo.learn(path, identity(path), artifact.sha256)
    return _lay_out(stated, statements, store, memo)


def find(dataset: DataSet, names: Sequence[str], store: Store) -> Shards:
    """
    Return the named shards in the store, without downloading.

    Raises `PrerequisiteError` with the command that downloads them. Their bytes are not read: see `verify`.
    """
    statements = read_statements(dataset, store)
    if not statements.shards:
        raise PrerequisiteError(
            f"no shard of {dataset.name} is in the store", "speedrun data fetch --record N"
        )
    stated = _select(names, statements)
    absent = [s.artifact.name for s in stated if not store.has(s.artifact)]
    if absent:
        some = ", ".join(absent[:3]) + (" …" if len(absent) > 3 else "")
        raise PrerequisiteError(
            f"{len(absent)} of {len(stated)} shards of {dataset.name} are missing from the store ({some})",
            "speedrun data fetch --record N",
        )
    return _lay_out(stated, statements, store, Memo(store))


def known_artifacts(dataset: DataSet, store: Store) -> dict[str, Artifact]:
    """Return the shards, by name, whose digests the lock or an earlier `fetch` states."""
    return {name: s.artifact for name, s in read_statements(dataset, store).shards.items()}


def folder_statement(
    dataset: DataSet, places: Mapping[str, Path], store: Store, progress: Progress
) -> ShardDigests:
    """Return the digests of local shards. Raises `IntegrityError` if one is not a shard of the data set."""
    memo = Memo(store)
    files: list[Artifact] = []
    for n, (name, path) in enumerate(sorted(places.items())):
        progress(f"reading {path}", n * dataset.size, len(places) * dataset.size)
        _check(path, dataset)
        files.append(Artifact(name, dataset.size, memo.sha256(path)[0]))
    memo.save()
    return ShardDigests(dataset.repo, None, StatedBy.FOLDER, dataset.sha256, tuple(files))


def shards_below(mirror: Path, names: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """Return where a directory has the named shards, at any depth, and the names that it does not have."""
    if not mirror.is_dir():
        raise PrerequisiteError(f"{mirror} is not a directory")
    every = {p.name: p for p in files_below(mirror) if p.suffix == ".bin"}
    return {n: every[n] for n in names if n in every}, [n for n in names if n not in every]


def _unstated(statements: ShardStatements, names: Sequence[str], store: Store) -> list[str]:
    """
    Return the shards whose digests must be looked up.

    A digest of a local file has no source once the file is in neither store nor mirror: it is stated anew.
    """
    stated, missing = select(statements, names)
    gone = [s.artifact.name for s in stated if s.revision is None and not store.has(s.artifact)]
    return missing + gone


def _state(
    dataset: DataSet,
    names: Sequence[str],
    revision: str | None,
    store: Store,
    mirror: Path | None,
    endpoint: str | None,
    progress: Progress,
) -> None:
    """Keep the digests of the shards in `mirror`, and the Hub's digests of the others, in the store."""
    places, elsewhere = shards_below(mirror, names) if mirror else ({}, list(names))
    if elsewhere:  # first, because it fails at once or not at all
        with _named_mirror(mirror, elsewhere):
            keep_statement(dataset, store, Hub(endpoint).state(dataset, elsewhere, revision, progress))
    if places:
        keep_statement(dataset, store, folder_statement(dataset, places, store, progress))


@contextlib.contextmanager
def _named_mirror(mirror: Path | None, names: Sequence[str]) -> Iterator[None]:
    """Say in an error of the Hub which shards the mirror lacks."""
    try:
        yield
    except (NetworkError, PrerequisiteError) as e:
        if mirror is None:
            raise
        some = ", ".join(sorted(names)[:3]) + (" …" if len(names) > 3 else "")
        message = f"{counted(len(names), 'shard')} not found in {mirror} ({some}), and {e.message}"
        missing = isinstance(e, PrerequisiteError)
        hub = f"; or, to get them from the Hub: {e.hint}" if missing else ", or fix the connection to the Hub"
        raise type(e)(message, f"put the missing shards into {mirror}{hub}") from e


def _hub_sources(
    statements: ShardStatements,
    stated: Sequence[StatedShard],
    store: Store,
    endpoint: str | None,
    optional: bool,
) -> list[Fetcher]:
    """Return the Hub as a source if a shard of the lock, or one that the Hub stated, is not in the store."""
    needed = [s for s in stated if (s.revision or statements.pinned) and not store.has(s.artifact)]
    if not needed:
        return []
    try:
        return [Hub(endpoint).fetcher(statements.repo, needed[0].revision or NEWEST)]
    except PrerequisiteError:
        if optional:
            return []
        raise


def _select(names: Sequence[str], statements: ShardStatements) -> tuple[StatedShard, ...]:
    stated, unknown = select(statements, names)
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        if statements.pinned:
            raise PrerequisiteError(
                f"the data lock has no digest for {unknown[0]}{more}",
                "make a lock of more shards: speedrun data lock, or speedrun data lock --mirror DIR",
            )
        raise PrerequisiteError(
            f"no digest is known for {unknown[0]}{more}", "speedrun data fetch --record N"
        )
    return tuple(stated)


def _check(path: Path, dataset: DataSet) -> None:
    tokens = read_header(path).tokens
    if tokens != dataset.tokens:
        raise IntegrityError(f"{path} has {tokens} tokens, expected {dataset.tokens}")


def _lay_out(
    stated: tuple[StatedShard, ...], statements: ShardStatements, store: Store, memo: Memo
) -> Shards:
    artifacts = tuple(s.artifact for s in stated)
    digest = tree_digest({a.name: a.sha256 for a in artifacts})
    folder = store.room("data") / f"shards-{digest[:16]}"
    if not _is_laid_out(folder, artifacts, store, memo):
        with store.lock(f"data-{digest[:16]}"):
            # another process may have made it meanwhile, and its guest may be reading it
            if not _is_laid_out(folder, artifacts, store, memo):
                _replace(folder, artifacts, store, memo)
    memo.save()
    return Shards(folder, stated, statements.repo, statements.pinned)


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
