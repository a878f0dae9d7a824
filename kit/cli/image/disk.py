"""`speedrun image disk`: what the built images take on this disk."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.options import store_option
from kit.cli.terminal import emit_json, megabytes, say
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.image.disk import disk_usage


@click.command("disk")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Outcome as JSON on stdout.")
def command(store: Path, as_json: bool) -> None:
    """Say what the built images take on this disk, beside what their distinct layers add up to.

    Downloads, which `fetch` brings, and file systems that runc unpacked are not counted.

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
        f"{len(usage.eras)} images, {megabytes(usage.summed)} of layers; distinct: {usage.layers} layers,"
        f" {megabytes(usage.distinct)}; on disk {megabytes(usage.on_disk)}, {usage.ratio:.4f} times that"
    )
