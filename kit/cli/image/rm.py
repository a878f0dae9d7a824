"""`speedrun image rm`: remove an image from the store."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.cache.contents import entry_document
from kit.cli.image.options import json_option
from kit.cli.options import store_option
from kit.cli.terminal import emit_json, megabytes, note, say
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.core.text import counted
from kit.diagnose.cache.image_removal import plan_image_removal, remove_image
from kit.image.oci import tag


@click.command("rm")
@click.argument("era")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@store_option
@json_option
def command(era: str, dry_run: bool, store: Path, as_json: bool) -> None:
    """Remove an image from the store.

    Removes the built image and its unpacked file systems. Layers that another image in the store has are
    kept. Downloads are kept, too: remove them with `speedrun cache clean --kind downloads`. Docker and Podman
    keep what was loaded into them.

    Exit 3: the image is not in the store. 5: a command is using it, and nothing was removed.

    \b
    Examples:
      speedrun image rm torch-2.4.1 --dry-run
      speedrun image rm torch-2.4.1
    """
    act = plan_image_removal if dry_run else remove_image
    found = act(era, facts_root() / "images", Store(store))
    if as_json:
        emit_json(
            {
                "era": era,
                "dry_run": dry_run,
                "freed_bytes": found.freed,
                "removed": [entry_document(entry) for entry in found.removed],
                "kept_shared": [entry_document(entry) for entry in found.kept],
            }
        )
    else:
        say(*(f"{entry.kind.value}  {entry.name}" for entry in found.removed))
    if found.kept:
        note(f"kept {counted(len(found.kept), 'part')} that other images share")
    note(f"{'would free' if dry_run else 'freed'} {megabytes(found.freed)}")
    if not dry_run:
        note(f"a copy in an engine stays; to remove it: docker rmi {tag(era)}")
