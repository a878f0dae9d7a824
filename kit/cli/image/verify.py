"""`speedrun image verify`: rebuild an image and check its committed digests."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.image.changes import format_changes
from kit.cli.image.options import json_option
from kit.cli.options import mirror_option, store_option
from kit.cli.terminal import Meter, emit_json, note
from kit.core.errors import DigestMismatch
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.core.text import counted
from kit.image import build as room
from kit.image.fetch import default_fetchers


@click.command("verify")
@click.argument("era")
@store_option
@mirror_option
@json_option
def command(era: str, store: Path, mirror: Path | None, as_json: bool) -> None:
    """Rebuild an image and check its committed digests.

    Nothing from an earlier build is reused. Exit 0: all digests match images/ERA/digest. 4: a digest differs;
    if the store has the expected layers, the changed files are listed.

    \b
    Examples:
      speedrun image verify cpu
      speedrun image verify cpu --json
    """
    done = room.verify(era, facts_root() / "images", Store(store), default_fetchers(mirror), Meter())
    differences = done.differences
    if as_json:
        entries = [change.document() for change in done.entries]
        pair = {"promised": done.promised.document(), "found": done.built.document()}
        emit_json({"era": era, "same": not differences, **pair, "entries": entries})
    if differences:
        lines = [*differences, *format_changes(done.entries, "promised", "built")]
        raise DigestMismatch(
            f"image {era} was rebuilt with other digests than images/{era}/digest:",
            "report this with the output of: speedrun doctor --json",
            lines,
        )
    note(
        f"{era}: config, manifest and {counted(len(done.built.layers), 'layer')} match the committed digests"
    )
