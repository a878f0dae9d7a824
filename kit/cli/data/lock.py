"""`speedrun data lock`: write down what the Hub states of every shard."""

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
@click.option("--revision", help="Commit of the data set.  [default: its newest]")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="[default: records/fineweb10B.lock.json]"
)
@endpoint_option
def command(revision: str | None, out: Path | None, endpoint: str | None) -> None:
    """Write down which sha256 the Hub states for every shard at one revision.

    Whoever reaches the Hub can make it, and anyone can compare: the file is the same for the same revision.

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
