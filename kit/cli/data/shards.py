"""Options and output that the commands of `speedrun data` share."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from kit.benchmark.records import load
from kit.cli.options import TASK_NAME
from kit.core.errors import UsageError
from kit.core.facts import facts_root
from kit.core.text import counted
from kit.data.dataset import DataSet, load_dataset
from kit.data.fetch import Shards
from kit.values.task_id import is_smoke

record_option = click.option(
    "--record", type=TASK_NAME, required=True, metavar="N", help="Record whose data to use."
)


endpoint_option = click.option(
    "--endpoint", metavar="URL", help="URL of a server with the API of the Hugging Face Hub."
)


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")

_HUB = "the Hub at {}"


def shards_of(record: int | str) -> tuple[DataSet, tuple[str, ...]]:
    """Return the data set, and the names of the shards that a record reads."""
    records = facts_root() / "records"
    if is_smoke(str(record)):
        raise UsageError(f"record {record} reads no data set", "its data is made on the machine of the run")
    dataset = load_dataset(records)
    return dataset, dataset.shards(load(records, record).train_shards)


def held_out_shards_of(record: int | str) -> tuple[str, ...]:
    """Return the names of the shards that `--audit held-out` reads; none if the record reads them itself."""
    records = facts_root() / "records"
    return load_dataset(records).held_out(load(records, record).train_shards)


def origin_line(shards: Shards) -> str:
    """Return a line about the source of the shards and of their digests."""
    pinned = "pinned by the lock file" if shards.pinned else "unpinned"
    number = counted(len(shards.files), "shard")
    return f"data: {pinned}; {number} of {shards.repo}, digests from {_sources(shards)}"


def _sources(shards: Shards) -> str:
    """Return the sources of the digests, with the number of shards if there are two sources."""
    counts = Counter((s.stated_by, s.revision) for s in shards.stated)
    words = [
        (_HUB.format(revision[:12]) if revision else "local files", n)
        for (_, revision), n in sorted(counts.items(), key=lambda item: item[0][0])
    ]
    return " and ".join(f"{word} ({n} of them)" if len(words) > 1 else word for word, n in words)


def document(shards: Shards) -> dict[str, Any]:
    """Return the shards as a JSON object."""
    return {
        "folder": str(shards.folder),
        "repo": shards.repo,
        "revision": shards.revision,
        "stated_by": shards.stated_by,
        "pinned": shards.pinned,
        "files": {a.name: {"size": a.size, "sha256": a.sha256} for a in shards.files},
    }
