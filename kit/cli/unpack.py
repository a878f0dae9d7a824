"""`speedrun unpack`: a capsule from anybody, into a new folder, or refused. Runs nothing of it."""

from __future__ import annotations

from pathlib import Path

import click

from kit.capsule.bag import RUN
from kit.capsule.content import open_capsule
from kit.capsule.unpack import unpack
from kit.cli.options import keys_option
from kit.cli.terminal import Meter, emit_json, note, say_path
from kit.cli.untrusted import distrust, trust_word
from kit.result.keys import trusted
from kit.values.task_id import listed_as


@click.command(name="unpack")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--to", "folder", type=click.Path(path_type=Path), help="New folder.  [default: <run_id>.unpacked]"
)
@click.option(
    "--max-bytes", type=click.IntRange(min=1), default=64 << 30, show_default="64 GiB", help="Of the payload."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the folder's path.")
@keys_option
def command(file: Path, folder: Path | None, max_bytes: int, as_json: bool, keys: Path) -> int:
    """Unpack a capsule, compare every byte with its manifests, and verify the bundle in it; offline.

    Exit 0: the bundle is what a trusted key signed. 1: what its key signed, but that key is not trusted.
    4: refused. An archive that breaks a rule leaves nothing behind.

    \b
    Examples:
      speedrun unpack r03-….capsule.tar
      speedrun unpack result.capsule.tar --to there --json
    """
    if folder is None:
        folder = Path(file.name.removesuffix(".tar").removesuffix(".capsule") + ".unpacked")
    root = unpack(file, folder.absolute(), max_bytes, Meter())
    capsule = open_capsule(root, trusted(keys))
    p = capsule.bundle.predicate
    note(
        f"record {p.task.id}, {p.score.verdict}; "
        f"signed by {capsule.bundle.key_id} ({trust_word(capsule.bundle)})"
    )
    if not capsule.bundle.trusted:
        distrust(root / RUN, capsule.bundle.revoked is not None)
    if as_json:
        emit_json(
            {
                "folder": str(root),
                "run_id": p.run.id,
                "record": listed_as(p.task.id),
                "verdict": p.score.verdict,
                "key_id": capsule.bundle.key_id,
                "trusted": capsule.bundle.trusted,
                "with_data": capsule.shards is not None,
            }
        )
    else:
        say_path(folder)
    return 0 if capsule.bundle.trusted else 1
