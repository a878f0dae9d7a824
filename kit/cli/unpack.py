"""`speedrun unpack`: unpack a capsule and verify it. Runs nothing from it."""

from __future__ import annotations

from pathlib import Path

import click

from kit.capsule.bag import RUN
from kit.capsule.receive import OwnFacts, receive
from kit.cli.capsule_text import received_document, tell_received
from kit.cli.options import keys_option
from kit.cli.terminal import Meter, emit_json, say_path
from kit.cli.untrusted import distrust
from kit.core.facts import facts_root
from kit.evaluate.provenance import this_kit
from kit.result.keys import trusted


@click.command(name="unpack")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--to", "folder", type=click.Path(path_type=Path), help="New directory.  [default: <run_id>.unpacked]"
)
@click.option(
    "--max-bytes",
    type=click.IntRange(min=1),
    default=64 << 30,
    help="Maximum size of the unpacked files.  [default: 64 GiB]",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object instead of the directory's path."
)
@keys_option
def command(file: Path, folder: Path | None, max_bytes: int, as_json: bool, keys: Path) -> int:
    """Unpack an archive made by `pack` and verify it.

    Works offline. Every byte is compared with the manifests in the archive, and its bundle is verified. This
    kit writes RUN.md and the container's configuration anew from the bundle; received ones that differ are
    reported and moved to received/.

    Exit 0: a trusted key signed the result, and all other files are signed by a trusted key or identical to
    this kit's. 1: one of the two keys is untrusted. 4: verification failed, and nothing is left on the disk.

    \b
    Examples:
      speedrun unpack r03-….capsule.tar
      speedrun unpack result.capsule.tar --to there --json
    """
    if folder is None:
        folder = Path(file.name.removesuffix(".tar").removesuffix(".capsule") + ".unpacked")
    facts = facts_root()
    own = OwnFacts(facts / "records", facts / "images", this_kit())
    received = receive(file, folder.absolute(), trusted(keys), own, max_bytes, Meter())
    tell_received(received)
    if not received.capsule.bundle.trusted:
        distrust(received.capsule.root / RUN, received.capsule.bundle.revoked is not None)
    if as_json:
        emit_json(received_document(received))
    else:
        say_path(folder)
    return 0 if received.accepted else 1
