"""`speedrun data lock`: write the lock file of the data."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.data.shards import endpoint_option
from kit.cli.terminal import say_path
from kit.core.facts import facts_root
from kit.core.files import write_atomic
from kit.data.dataset import load_dataset, lock_path
from kit.data.hub import Hub


@click.command("lock")
@click.option("--revision", help="Commit of the data set.  [default: the newest]")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write.  [default: records/fineweb10B.lock.json]",
)
@endpoint_option
def command(revision: str | None, out: Path | None, endpoint: str | None) -> None:
    """Write a lock file with the sha256 of every shard.

    Reads the digests from the Hub. The same revision always gives the same file, so others can compare.

    \b
    Examples:
      speedrun data lock
      speedrun data lock --revision 0123456789abcdef0123456789abcdef01234567 --out lock.json
    """
    dataset = load_dataset(facts_root() / "records")
    every = dataset.shards(dataset.train_last - dataset.train_first + 1)
    target = out or lock_path(dataset)
    write_atomic(target, Hub(endpoint).state(dataset, every, revision).to_json())
    say_path(target)
