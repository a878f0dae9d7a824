"""`speedrun record fetch`: download the script of a record and verify it."""

from __future__ import annotations

from pathlib import Path

import click

from kit.benchmark.records import fetch_script, load, sources
from kit.benchmark.tasks import write_writable
from kit.cli.options import TASK_NAME, store_option, upstream_option
from kit.cli.terminal import Meter, emit_json, say_path
from kit.core.digest import files_under, tree_digest
from kit.core.facts import facts_root
from kit.core.store import Store


@click.command("fetch")
@click.argument("name", type=TASK_NAME)
@upstream_option
@store_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="New directory for a writable copy.  [default: a read-only directory in the store]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the directory and the digests as JSON.")
def command(name: int | str, upstream: Path | None, store: Path, out: Path | None, as_json: bool) -> None:
    """Download the script of a record and verify it.

    The script comes from upstream's log for records 4 to 63 and from a commit for the others. The kit has
    those of the smoke records itself. Prints the directory of the script, which works as a submission:
    `speedrun eval --submission DIR`. It is read-only; pass --out for a copy to edit.

    \b
    Examples:
      speedrun record fetch 11
      speedrun record fetch 11 --out my-agent
      speedrun record fetch 3 --upstream ../modded-nanogpt/.git --json
    """
    record = load(facts_root() / "records", name)
    folder = fetch_script(record, Store(store), sources(upstream), Meter())
    if out is not None:
        write_writable(out, {path.name: path.read_bytes() for path in sorted(folder.iterdir())})
        folder = out
    if as_json:
        files = files_under(folder)
        emit_json({"record": name, "folder": str(folder), "files": files, "digest": tree_digest(files)})
    else:
        say_path(folder)
