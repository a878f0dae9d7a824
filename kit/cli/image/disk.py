"""`speedrun image disk`: show the disk space that the built images use."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.options import store_option
from kit.cli.terminal import emit_json, megabytes, say
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.core.text import counted
from kit.image.disk import disk_usage


@click.command("disk")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(store: Path, as_json: bool) -> None:
    """Show how much disk space the built images use.

    Downloaded packages and the file systems unpacked for runc are not counted.

    \b
    Examples:
      speedrun image disk
      speedrun image disk --json
    """
    usage = disk_usage(facts_root() / "images", Store(store))
    if as_json:
        emit_json(usage.document())
        return
    say(
        f"{counted(len(usage.eras), 'image')}, {megabytes(usage.summed)} of layers; "
        f"{counted(usage.layers, 'distinct layer')}, {megabytes(usage.distinct)}; "
        f"on disk {megabytes(usage.on_disk)}, {usage.ratio:.4f} times the distinct layers"
    )
