"""`speedrun image list`: list the images and what is in the store."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.image.options import json_option
from kit.cli.options import store_option
from kit.cli.terminal import emit_json, megabytes, say, table
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.image.build import survey
from kit.image.spec import eras


@click.command("list")
@store_option
@json_option
def command(store: Path, as_json: bool) -> None:
    """List the images and what is in the store.

    An image is named by its era, the records that share one environment.

    \b
    Examples:
      speedrun image list
      speedrun image list --json
    """
    images = facts_root() / "images"
    surveys = [survey(era, images, Store(store)) for era in eras(images)]
    if as_json:
        emit_json({"eras": [s.document() for s in surveys]})
        return
    rows = [
        (
            s.era,
            megabytes(s.size),
            megabytes(s.size - s.present),
            "yes" if s.built else "no",
            s.state,
            s.summary,
        )
        for s in surveys
    ]
    say(*table(("era", "download", "to fetch", "built", "lock", "contents"), rows))
