"""`speedrun data lock`: write the lock file of the data."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.data.shards import endpoint_option
from kit.cli.options import store_option
from kit.cli.terminal import Meter, note, say_path
from kit.core.digest import sha256_bytes
from kit.core.errors import PrerequisiteError, UsageError
from kit.core.facts import facts_root
from kit.core.files import write_atomic
from kit.core.store import Store
from kit.core.text import counted
from kit.data.dataset import DataSet, ShardDigests, load_dataset, lock_path
from kit.data.fetch import folder_statement, shards_below
from kit.data.hub import Hub


@click.command("lock")
@click.option("--revision", help="Commit of the data set.  [default: the newest]")
@click.option(
    "--mirror",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Hash the shards in this directory instead of asking the Hub.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write.  [default: records/fineweb10B.lock.json]",
)
@endpoint_option
@store_option
def command(
    revision: str | None, mirror: Path | None, out: Path | None, endpoint: str | None, store: Path
) -> None:
    """Write a lock file with the sha256 of every shard.

    Reads the digests from the Hub. The same revision always gives the same file, so others can compare.

    With --mirror, computes the digests of the shards in a directory, offline. The lock then has only these
    shards. It says `stated_by: folder`, and the same shards always give the same file. A board accepts a lock
    by its sha256, which this command prints.

    \b
    Examples:
      speedrun data lock
      speedrun data lock --revision 0123456789abcdef0123456789abcdef01234567 --out lock.json
      speedrun data lock --mirror /data/fineweb10B --out lock.json
    """
    dataset = load_dataset(facts_root() / "records")
    every = dataset.shards(dataset.train_last - dataset.train_first + 1)
    if mirror is not None and (revision or endpoint):
        raise UsageError("--mirror does not use the Hub", "leave out --revision and --endpoint")
    if mirror is not None:
        statement = _read_mirror(dataset, every, mirror, Store(store))
    else:
        statement = Hub(endpoint).state(dataset, every, revision, Meter())
    target, document = out or lock_path(dataset), statement.to_json()
    write_atomic(target, document)
    shards = f"{len(statement.files)} of {counted(len(every), 'shard')}"
    note(f"data lock: {shards}, sha256 {sha256_bytes(document)}")
    say_path(target)


def _read_mirror(dataset: DataSet, names: tuple[str, ...], mirror: Path, store: Store) -> ShardDigests:
    """Return the digests of all shards of the data set that a directory has."""
    places, _ = shards_below(mirror, names)
    if dataset.val_name not in places:
        raise PrerequisiteError(
            f"{dataset.val_name} not found in {mirror}", "pass the directory that has the validation shard"
        )
    return folder_statement(dataset, places, store, Meter())
