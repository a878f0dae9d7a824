"""`speedrun data verify`: check the downloaded data of a record."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.data.shards import document, json_option, origin_line, record_option, shards_of
from kit.cli.options import store_option
from kit.cli.terminal import Meter, emit_json, note, say
from kit.core.errors import IntegrityError, PrerequisiteError
from kit.core.store import Store
from kit.core.text import counted
from kit.data.fetch import find
from kit.data.verify import drop_faulty
from kit.data.verify import verify as check


@click.command("verify")
@record_option
@click.option("--rehash", is_flag=True, help="Hash every file again, even if it has not changed.")
@click.option(
    "--drop",
    is_flag=True,
    help="Delete shards that failed verification, so that they can be downloaded again.",
)
@store_option
@json_option
def command(record: int | str, rehash: bool, drop: bool, store: Path, as_json: bool) -> None:
    """Verify the downloaded data of a record.

    Checks the header, token count, size and sha256 of each shard. A file that has not changed since it was
    hashed is not hashed again. Exit 4: a shard failed verification.

    \b
    Examples:
      speedrun data verify --record 11
      speedrun data verify --record 11 --rehash --json
    """
    dataset, names = shards_of(record)
    try:
        shards = find(dataset, names, Store(store))
    except PrerequisiteError as e:
        raise PrerequisiteError(e.message, f"speedrun data fetch --record {record}") from e
    checked = check(dataset, shards, Store(store), rehash=rehash, progress=Meter())
    bad = [c for c in checked if c.fault]
    if as_json:
        faults = {c.name: c.fault for c in bad}
        hashed = sum(c.hashed for c in checked)
        emit_json({"record": record, **document(shards), "faults": faults, "hashed": hashed})
    else:
        note(origin_line(shards))
        say(f"{len(checked) - len(bad)} of {len(checked)} shards passed verification")
    if bad:
        lines = "; ".join(f"{c.name}: {c.fault}" for c in bad[:3])
        fix = f"speedrun data {'fetch' if drop else 'verify --drop'} --record {record}"
        if drop:
            drop_faulty(shards, checked, Store(store))
        raise IntegrityError(f"{counted(len(bad), 'shard')} failed verification: {lines}", fix)
