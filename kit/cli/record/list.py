"""`speedrun record list`: list the records."""

from __future__ import annotations

import click

from kit.benchmark.records import load_all
from kit.cli.record.document import document
from kit.cli.terminal import emit_json, say, table
from kit.core.facts import facts_root


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
def command(as_json: bool) -> None:
    """List the records: times, steps, shards, era.

    `min` is the official time in minutes, `re-timed` the time that the benchmark's paper measured; it ends
    with record 21.

    \b
    Examples:
      speedrun record list
      speedrun record list --json
    """
    records = load_all(facts_root() / "records")
    if as_json:
        emit_json({"records": [document(r) for r in records]})
        return
    rows = [
        (
            r.name,
            f"{r.official_s / 60:.3f}".rstrip("0").rstrip("."),
            "-" if r.retimed_ms is None else f"{r.retimed_ms / 60000:.2f}",
            str(r.steps),
            str(r.train_shards),
            r.era,
            r.date,
            r.title,
        )
        for r in records
    ]
    say(*table(("#", "min", "re-timed", "steps", "shards", "era", "date", "title"), rows, right=5))
