"""`speedrun image build`: build an image into the store."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.image.options import json_option
from kit.cli.options import mirror_option, store_option
from kit.cli.terminal import Meter, emit_json, note, say
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.image import build as room
from kit.image.fetch import default_fetchers


@click.command("build")
@click.argument("era")
@click.option("--accept", is_flag=True, help="Accept the new digests and write them to images/ERA/digest.")
@store_option
@mirror_option
@json_option
def command(era: str, accept: bool, store: Path, mirror: Path | None, as_json: bool) -> None:
    """Build an image into the store.

    An image that is in the store already is not built again. Exit 4: the digests differ from
    images/ERA/digest.

    \b
    Examples:
      speedrun image build cpu
      speedrun image build cpu --json
    """
    make = room.accept if accept else room.ensure_layout
    layout = make(era, facts_root() / "images", Store(store), default_fetchers(mirror), Meter())
    if as_json:
        emit_json(layout.document())
    else:
        say(f"config   sha256:{layout.config_digest}", f"manifest sha256:{layout.manifest_digest}")
        note(f"layout   {layout.path}")
